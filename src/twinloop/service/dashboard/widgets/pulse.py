"""What is small and alive: the slot with its age, moments, the choice of colours."""

from nicegui.element import Element


class Pulse(Element, component="pulse.js", dependencies=["twinloop-format.js"]):
    """The last slot and how long ago it was lived; it grows late by itself."""

    def beat(self, slot: int, now_s: float) -> None:
        """The slot that the server is in while its clock shows `now_s` (epoch seconds)."""
        self.run_method("beat", slot, now_s)

    def say(self, words: str) -> None:
        """Before the first slot: what it waits for."""
        self.run_method("say", words)


class When(Element, component="when.js", dependencies=["twinloop-format.js"]):
    """A moment in local time, with its age."""

    def __init__(self, at_s: float | None = None) -> None:
        super().__init__()
        self.set(at_s)

    def set(self, at_s: float | None) -> None:
        """Shows another moment, epoch seconds."""
        if self._props.get("at") != at_s:
            self._props["at"] = at_s
            self.update()


class ThemeSwitch(Element, component="theme.js"):
    """Light, dark or as the system has it."""
