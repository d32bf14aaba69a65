"""Boards that misbehave on demand, for the agent's own eyes: a sysfs folder and a `vcgencmd` on the PATH that say what a test wants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FINE = 0x0
FIRMWARE = "03dc77429335caee083e54ddc8eec09e0f12f3c7 (clean) (release) (start)"


@dataclass(frozen=True)
class Board:
    """A folder that stands for a board's firmware and kernel; `environment` makes an agent see it."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point an agent at this board; its programs come first on the PATH."""
        return {"OTA_SYSFS": str(self.folder / "sys"), "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin"}

    def clock(self, *khz: int) -> Board:
        """Set the processors' clocks."""
        for number, value in enumerate(khz):
            self._write(f"sys/devices/system/cpu/cpu{number}/cpufreq/scaling_cur_freq", str(value))
        self._write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "ondemand")
        return self

    def heat(self, *degrees: float) -> Board:
        """Set the temperatures of the thermal zones, in degrees Celsius."""
        for number, value in enumerate(degrees):
            self._write(f"sys/class/thermal/thermal_zone{number}/temp", str(round(value * 1000)))
        return self

    def firmware(self, *words: int, then: str = "") -> Board:
        """Let `vcgencmd get_throttled` answer with one word after the other, the last for ever; `then` is a shell command it runs each time."""
        answers = "\n".join(f"{number}) word={word:#x};;" for number, word in enumerate(words[:-1]))
        script = (
            "#!/bin/sh\n"
            f'[ "$1" = version ] && printf "Aug 10 2023 15:33:38\\nCopyright (c) 2012 Broadcom\\nversion {FIRMWARE}\\n" && exit\n'
            f"count=$(cat '{self.folder}/asked' 2>/dev/null || echo 0)\n"
            f"echo $((count + 1)) >'{self.folder}/asked'\n"
            f"case $count in\n{answers}\n*) word={words[-1]:#x};;\nesac\n"
            f"{then}\n"
            "echo throttled=$word\n"
        )
        self._write("bin/vcgencmd", script)
        (self.folder / "bin" / "vcgencmd").chmod(0o755)
        return self

    def identity(self, serial: str, revision: int) -> Board:
        """Set what the device tree tells: the serial number as text with a NUL, the revision as a number of 32 bits."""
        tree = self.folder / "sys/firmware/devicetree/base"
        (tree / "system").mkdir(parents=True)
        (tree / "serial-number").write_bytes(serial.encode() + b"\0")
        (tree / "system" / "linux,revision").write_bytes(revision.to_bytes(4, "big"))
        return self

    def limits(self, *ends: tuple[int, int]) -> Board:
        """Set the least and the highest clock of each policy, in kHz."""
        for number, (least, highest) in enumerate(ends):
            self._write(f"sys/devices/system/cpu/cpufreq/policy{number}/scaling_min_freq", str(least))
            self._write(f"sys/devices/system/cpu/cpufreq/policy{number}/cpuinfo_max_freq", str(highest))
        return self

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
