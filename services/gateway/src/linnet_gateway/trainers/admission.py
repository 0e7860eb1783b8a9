"""Trainers are let in by their token, before their messages are read."""

from linnet_runtime.clock import Clock
from linnet_runtime.rpc.admission import Open, bearer_token

from linnet_gateway.trainers.tokens import Tokens


class TrainerAdmission(Open):
    """Looks at who signed a token and until when; whether its attempt still counts comes later."""

    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock

    async def admit(self, method: str, authorization: str) -> None:
        """Let a call in; raises `Unauthenticated`."""
        token, now = bearer_token(authorization), self._clock.now()
        if method == "AcquireAssignment":
            self._tokens.read_launch(token, now)
        else:
            self._tokens.read_run(token, now)
