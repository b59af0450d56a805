"""Models of every kind, converted with all defaults for every standard target.

Layout:
    command.py      the command line; each model in a process of its own
    zoo.py          the models: where each comes from, what it is fed, how its outputs are compared
    feeding.py      what each is fed; states.py adds the state of a network that has one
    packages.py     a file inside a downloaded package
    text_encoder.py the ONNX graph of a text encoder whose package has weights only
    samples/        inputs: photos, pictures of text, sound, sentences, spectra
    comparing.py    agreement of outputs as an application would see it
    row.py          one model for its targets, in a fresh process
    roads.py        one model that comes in three formats
    official.py     our int8 beside the int8 files that MLPerf Tiny gives out
    to_tflite.py    processor time from ONNX to TFLite; to_tflite_peers.py takes that of others
    lowering.py     memory that writing a file takes
    rounding.py     what AWQ and GPTQ gain
    storage.py      what weights lose for their bytes, by precision
    document.py     rows as the table in docs/models.md
"""
