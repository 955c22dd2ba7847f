"""What decisions need of the loop, of who says what may be done, and of who looks at what reports show."""

from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

from twinloop.service.acting.dispatch import Mode
from twinloop.service.acting.effect import Aftermath, Held
from twinloop.service.acting.limits import Limits
from twinloop.validation import Approved

Result = TypeVar("Result")


@runtime_checkable
class Ground(Protocol):
    """The loop, as far as decisions touch it."""

    def run(self, job: Callable[[], Result]) -> Result:
        """Does `job` on the loop's thread between two slots. Raises DecisionError where it does not come to it."""
        ...

    def adopt(self, approved: Approved) -> tuple[int, int]:
        """Has the loop stand on what was approved, if it is still safe: the code of `RESULTS`, and the number under
        which the network is asked. On the loop's thread.
        """
        ...

    def standing(self) -> Approved:
        """What the loop stands on now; on the loop's thread."""
        ...

    @property
    def slot(self) -> int:
        """The slot lived last."""
        ...

    def stand_again(self, before: Approved) -> int:
        """Has the loop stand again on what it stood on before, if that is still safe, however old the twins are: the
        code of `RESULTS`. On the loop's thread.
        """
        ...


@runtime_checkable
class AuthorityPort(Protocol):
    """What may be done without asking."""

    @property
    def mode(self) -> Mode:
        """How decisions are taken now."""
        ...

    @property
    def limits(self) -> Limits:
        """Limits of what is automatic."""
        ...

    @property
    def blackout(self) -> str:
        """The blackout that is now, "" where none."""
        ...


@runtime_checkable
class EffectsPort(Protocol):
    """Who looks at what reports show of a decision."""

    def asked(self, name: str, held: Held) -> list[Aftermath]:
        """It was asked of the network; what is known of the one before it."""
        ...

    def confirmed(self, name: str) -> None:
        """The network says that it follows."""
        ...

    def dropped(self, name: str) -> None:
        """It will not take effect."""
        ...
