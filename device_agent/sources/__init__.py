"""Where frames come from, and how they become what the payload wants.

Layout:
    source.py      `Frame` and the `Source` protocol
    prepare_frame.py  a frame to the float model's inputs, by what the artifact declares; of it
    preprocess.py  a picture to the input; the host calibrates with the same code
    sound/         a recording to the input; likewise
    text.py        a text to the inputs; likewise
    artifact_text.py  texts of an artifact at the agent's start
    preprocess_file.py  preprocess.toml: what is declared, as the user writes it
    text_declaration.py  its table [text]; that of sound is in sound/
    resample.py    pictures resized without Pillow, to the same bytes
    adapt.py       the float model's arrays to the payload's, and back
    npy.py         bytes of an .npy, whoever sent them
    directory.py   pictures, recordings, .npy or .txt files of a folder
    replay.py      samples of an .npz
    received.py    bytes that somebody sent
    frame_queue.py frames that wait, and what becomes of one too many
    mqtt.py        frames that arrive as messages
    http.py        frames that are posted, with the results as answers
    camera.py      a camera or a video file
    synthetic.py   zeros, for the null engine: no numpy
"""
