"""The model and the data of a play: recognised, checked, converted under each scheme; the only room that knows TensorFlow.

TensorFlow runs in converter_child processes only (`converter_child`), so that a crash there is a row with a reason and importing this room stays cheap.
"""
