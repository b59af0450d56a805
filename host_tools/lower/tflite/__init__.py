"""Lowering to TFLite: the flatbuffer is written directly, channels last, without TensorFlow. The face is `lowering.lower`."""
