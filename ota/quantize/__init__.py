"""The model and the data of a play: recognised, checked, converted under each scheme; the only room that knows TensorFlow.

TensorFlow runs in child processes only (`child`), so that a crash there is a row with a reason and importing this room stays cheap.
"""
