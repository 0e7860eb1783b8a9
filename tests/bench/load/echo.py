"""A server that answers each call with what it was sent: what grpc.aio itself costs on a machine.

`python echo.py` serves until it is killed, and prints its port.
"""

import asyncio
import os
import sys
from pathlib import Path

import grpc

_METHOD = "/linnet.bench.Echo/Echo"
_CALLS = 4_000
_AT_ONCE = 8
_MESSAGE = bytes(64)


async def cpu_ms_a_call() -> float:
    """Measure the processor time of the server for one call, in ms, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        port = int(await process.stdout.readline())
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary(_METHOD)
            await _calls(call, _CALLS // 4)
            used = _cpu_s(process.pid)
            await _calls(call, _CALLS)
            return (_cpu_s(process.pid) - used) * 1e3 / _CALLS
    finally:
        process.kill()
        await process.wait()


async def _calls(call: grpc.aio.UnaryUnaryMultiCallable, count: int) -> None:
    async def some() -> None:
        for _ in range(count // _AT_ONCE):
            await call(_MESSAGE)

    await asyncio.gather(*(some() for _ in range(_AT_ONCE)))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _serve() -> None:
    async def echo(request: bytes, _context: object) -> bytes:
        return request

    server = grpc.aio.server()
    service, method = _METHOD.strip("/").split("/")
    handlers = {method: grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve())
