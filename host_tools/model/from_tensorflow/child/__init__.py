"""The program that has TensorFlow. It runs in whatever Python has it: the standard library, TensorFlow and tf2onnx, nothing else of ours.

Layout:
    __main__.py        request in, model.onnx and answer.json out
    refusal.py         Refusal: what the user is told
    computation.py     Computation: a function with named inputs and outputs
    keras_file.py      .keras and .h5: what they say of themselves, and whether that may be rebuilt
    keras_model.py     rebuilt by the Keras that wrote it
    keras_trust.py     what a Keras configuration may name, asked before anything is rebuilt
    hdf5_trust.py      what an HDF5 file may hold, asked before anything is read
    saved_model.py     a folder of TensorFlow's: which signature, what its graph may hold
    onnx_writer.py     Computation to ONNX by tf2onnx, and what it left over
"""
