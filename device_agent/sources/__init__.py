"""Where frames come from, and how they become what the payload wants.

Layout:
    source.py      `Frame` and the `Source` protocol
    preprocess.py  a picture to the float model's input; the host calibrates with the same code
    preprocess_file.py  the same as preprocess.toml says it
    sound/         a recording to the float model's input; here too the host calibrates with the same code
    text.py        a text to the float model's inputs; as above
    artifact_text.py  texts of an artifact at the agent's start
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
