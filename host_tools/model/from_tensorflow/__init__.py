"""Models of TensorFlow and Keras: turned into ONNX by tf2onnx, in a process of its own, before `host_tools.model.load` reads them.

Layout:
    kinds.py          what a path holds, by its bytes
    options.py        TensorFlowOptions: signature, interpreter, cache
    conversion.py     to_onnx(): the story: digest, cache, child, note
    interpreter.py    which Python has TensorFlow, and which versions
    kept.py           conversions by what they were made from
    child_process.py  starts the child and reads its answer
    child/            the program that runs there: TensorFlow is imported nowhere else
"""
