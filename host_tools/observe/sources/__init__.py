"""Where samples come from, one file a kind of storage.

Layout:
    array_files.py      .npy, folder of .npy, .npz
    prepared_folder.py  a folder whose files are each a sample
    image_folder.py     folder of pictures, with their preprocessing
    sound_folder.py     folder of recordings, with theirs
    texts.py            a text a line or a file, by their tokeniser
    function.py         module:function
    random_inputs.py    made-up samples, never for calibration
    opening.py          open_data: which of them a text means
"""
