"""Runs under the Python of a runtime: loads the files named on standard input, one a line, and answers each with one line of JSON.

`answer` is `loads` (an Interpreter was built and its tensors allocated), `unknown` (the runtime says that it does not know the operator, its version
or a tensor's type) or `failed` (anything else). If the process dies, the file after the last answer killed it.
"""

from __future__ import annotations

import json
import sys

_UNKNOWN = (
    "Didn't find op for builtin opcode",
    "nresolved custom op",
    "Unsupported data type",
    "Registration failed",
)


def main() -> None:
    """Answer until the input ends."""
    try:
        from tflite_runtime.interpreter import Interpreter  # noqa: PLC0415 - there is one of the two
    except ImportError:
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - there is one of the two
    for line in sys.stdin:
        answer, reason = "loads", ""
        try:
            Interpreter(model_path=line.strip()).allocate_tensors()
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises is its answer
            reason = " ".join(str(error).split())
            answer = "unknown" if any(words in reason for words in _UNKNOWN) else "failed"
        sys.stdout.write(json.dumps({"answer": answer, "reason": reason[:400]}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
