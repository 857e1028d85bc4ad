"""Callbacks: how a training run speaks to other programs, such as an experiment tracker or a chat."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from idgan.errors import InvalidInputError
from idgan.training.distributed import any_process

__all__ = ["Callback", "Callbacks"]


class Callback:
    """What `train` calls while it trains. The methods do nothing. Inherit, and write those that you need.

        class Print(Callback):
            def on_step(self, step, losses):
                if losses:
                    print(step, losses)

        idgan.train("dsprites", "runs/mine", callbacks=[Print()])

    Of several processes, only the first one calls. The random numbers that a callback draws from PyTorch's global
    generator do not influence the run. If a method raises an exception, the run saves its state and ends with that
    exception. The same call of `train` continues the run.
    """

    def on_stage_start(self, stage: str, step: int, steps: int) -> None:
        """A stage begins or continues.

        Args:
            stage: "vae" (stage 1) or "gan" (stage 2).
            step: steps that earlier calls of `train` have done. It equals `steps` if they have finished the stage.
            steps: all steps of the stage.
        """

    def on_step(self, step: int, losses: Mapping[str, float]) -> None:
        """A step is done. It is called after every step, so it should be fast.

        Args:
            step: number of the step, from 1.
            losses: what `log.jsonl` records of this step, name -> value. It is empty for most steps: losses are read
                from the device at the first step, at every 50th after it, and at the last. So no step waits for the
                device because of a callback.
        """

    def on_stage_end(self, stage: str, directory: Path) -> None:
        """A stage is finished and its state is saved. An interrupted stage does not end.

        It is called for a stage that an earlier call of `train` has finished, too.

        Args:
            stage: "vae" (stage 1) or "gan" (stage 2).
            directory: holds the log, the pictures and the state of the stage.
        """


class Callbacks:
    """The callbacks of a run.

    Args:
        callbacks: what the user passed.
        leader: whether this process calls them.

    Raises:
        InvalidInputError: one of them is no `Callback`.
    """

    def __init__(self, callbacks: Sequence[Callback] = (), leader: bool = True) -> None:
        for number, callback in enumerate(callbacks):
            if not isinstance(callback, Callback):
                raise InvalidInputError(
                    f"callbacks[{number}] must be an object of a class that inherits from idgan.training.Callback, "
                    f"got {callback!r:.100}"
                )
        self.callbacks = list(callbacks) if leader else []

    def call(self, method: str, *arguments: Any) -> BaseException | None:
        """Call `method` of each callback. Returns the first exception, after which no other callback is called."""
        try:
            for callback in self.callbacks:
                getattr(callback, method)(*arguments)
        except BaseException as error:  # also SystemExit, with which a callback may end the run
            return error
        return None

    def call_and_raise(self, method: str, *arguments: Any) -> None:
        """Call `method` of each callback, and end the run with the first exception. Every process must call this.

        Raises:
            BaseException: that of a callback. Other processes raise SystemExit.
        """
        failure = self.call(method, *arguments)
        if any_process(failure is not None):
            raise failure or SystemExit(1)
