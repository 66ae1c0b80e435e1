"""Streams completions through the gateway of hedge-tokio's examples, by the client of OpenAI, before three backends.

Usage: drive.py GATEWAY, the program. Checks that

* while one backend stalls for 20 s, no completion is mixed or cut, and the P99 of the time to the first token is at most
  1.3 times what it is while all are healthy, in the same run;
* if a backend dies in mid-stream, its streams fail with an error, and no other does;
* /metrics counts, and the gateway ends when it is told to, with the streams that it has.
"""

import asyncio
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from openai import APIError, AsyncOpenAI

TOKENS = 8
GAP = 0.01


class Backend:
    """Answers `/v1/chat/completions` with a stream of tokens, each of which names the stream."""

    def __init__(self, name):
        self.name = name
        self.streams = 0
        self.stalled_until = 0.0
        self.dying = False
        self.random = random.Random(name)

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def serve(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.split("content-length:")[1].split("\r\n")[0])
                await reader.readexactly(length)
                await self.answer(writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, writer):
        self.streams += 1
        stream = f"{self.name}-{self.streams}"
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        # The head comes at once, and so does a comment.
        self.send(writer, ": wait\n\n")
        await writer.drain()
        await asyncio.sleep(self.random.lognormvariate(-3.2, 0.3))
        await asyncio.sleep(max(0.0, self.stalled_until - time.monotonic()))
        for n in range(TOKENS):
            if self.dying and n == TOKENS // 2:
                writer.transport.abort()
                raise ConnectionError
            self.send(writer, "data: " + json.dumps(self.chunk(stream, f"{stream}:{n} ")) + "\n\n")
            await writer.drain()
            await asyncio.sleep(GAP)
        self.send(writer, "data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    def chunk(self, stream, text):
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        return {"id": stream, "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}

    def send(self, writer, text):
        writer.write(b"%x\r\n%s\r\n" % (len(text), text.encode()))


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


async def complete(client):
    """One completion: its tokens, the time to the first one, and the error that ended it."""
    start, first, tokens = time.monotonic(), None, []
    try:
        messages = [{"role": "user", "content": "What does hedging do?"}]
        stream = await client.chat.completions.create(model="m", messages=messages, stream=True)
        async for chunk in stream:
            first = first or time.monotonic() - start
            tokens.append(chunk.choices[0].delta.content.strip())
    except Exception as error:  # The client passes on what its transport raises.
        return tokens, first, error
    return tokens, first, None


def is_whole(tokens):
    streams = {token.split(":")[0] for token in tokens}
    return len(streams) == 1 and [token.split(":")[1] for token in tokens] == [str(n) for n in range(TOKENS)]


async def load(client, count, workers=8):
    left, results = iter(range(count)), []

    async def work():
        for _ in left:
            results.append(await complete(client))

    await asyncio.gather(*(work() for _ in range(workers)))
    return results


def p99(results):
    times = sorted(first for _, first, _ in results)
    return times[int(0.99 * len(times))]


async def main(gateway):
    backends = [Backend(name) for name in "abc"]
    for backend in backends:
        await backend.start()
    port = free_port()
    text = f'listen = "127.0.0.1:{port}"\nroutes = ["/v1/chat/completions"]\n'
    text += "[hedging]\npercentile = 95\nbudget_percent = 10\n"
    for backend in backends:
        text += f'[[backends]]\nurl = "http://127.0.0.1:{backend.port}"\ntier = "t"\ncost = 0.5\n'
    config = tempfile.NamedTemporaryFile("w", suffix=".toml")
    config.write(text)
    config.flush()
    process = subprocess.Popen([gateway, "--config", config.name], stdout=subprocess.PIPE, text=True)
    try:
        process.stdout.readline()
        client = AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0, timeout=60)
        await load(client, 200)
        healthy = await load(client, 500)
        backends[0].stalled_until = time.monotonic() + 20
        stalled = await load(client, 500)
        for results in healthy, stalled:
            bad = [result for result in results if result[2] or not is_whole(result[0])]
            assert not bad, f"{len(bad)} completions are mixed or cut, such as {bad[0]}"
        ratio = p99(stalled) / p99(healthy)

        backends[0].stalled_until = 0.0
        backends[1].dying = True
        dying = await load(client, 100)
        backends[1].dying = False
        failed = [result for result in dying if result[2]]
        assert failed, "nobody was served by the backend that dies"
        for tokens, _, error in failed:
            assert tokens and tokens[0].startswith("b-"), f"{tokens} was not to fail: {error!r}"
        assert all(is_whole(tokens) for tokens, _, error in dying if not error)

        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
            scrape = response.read().decode()
        cost = sum(float(line.split()[-1]) for line in scrape.splitlines() if line.startswith("gateway_cost{"))
        asked = sum(backend.streams for backend in backends)
        assert cost >= 0.5 * asked, f"{cost} for {asked} streams"
        last = asyncio.create_task(complete(client))
        await asyncio.sleep(0.05)
        process.send_signal(signal.SIGINT)
        tokens, _, error = await last
        assert not error and is_whole(tokens), f"the last stream ended with {error!r}"
        await client.close()
        assert await asyncio.to_thread(process.wait, 30) == 0
        print(
            f"gateway: P99 to the first token {1000 * p99(healthy):.0f} ms healthy, {1000 * p99(stalled):.0f} ms while one of "
            f"three stalls ({ratio:.2f} x); 1000 completions whole; a backend that dies cut {len(failed)} of 100, all its own; "
            f"extra load {100 * (asked / 1301 - 1):.1f} %"
        )
        assert ratio <= 1.3, f"{ratio:.2f} times as long"
    finally:
        process.kill()


asyncio.run(main(sys.argv[1]))
