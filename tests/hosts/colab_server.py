"""A notebook page that treats widgets as Colab does, over a kernel of an older environment.

What it takes over from Colab: each output is a frame of another origin, so that two views share nothing but the kernel;
``render`` gets neither ``signal`` nor ``host``; buffers arrive as Uint8Array; the theme is an attribute of the frame's
``html``. Run as ``python -m colab_server PORT FRAME_PORT PYTHON`` with the interpreter that the kernel runs on.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

PAGES = Path(__file__).parent / "colab"


class Page(RequestHandler):
    """One of the two HTML files."""

    def initialize(self, name: str, frame_port: int) -> None:
        self.name, self.frame_port = name, frame_port

    def get(self) -> None:
        text = (PAGES / self.name).read_text(encoding="utf-8")
        self.write(text.replace("FRAME_PORT", str(self.frame_port)))


class Kernel:
    """A kernel and everything it has said: a page that is loaded anew hears it all once more."""

    def __init__(self, python: str) -> None:
        self.manager = AsyncKernelManager()
        self.manager._kernel_spec = KernelSpec(
            argv=[python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            language="python",
            display_name="Older",
        )
        self.said: list[dict[str, Any]] = []
        self.listeners: set[Channel] = set()
        self.questions: set[str] = set()
        self.is_back = asyncio.Event()

    async def start(self) -> None:
        """Start and listen for as long as the program runs."""
        await self.manager.start_kernel()
        self.client = self.manager.client()
        self.client.start_channels()
        await self.client.wait_for_ready(timeout=60)
        while True:
            heard = await self.client.get_iopub_msg(timeout=None)
            message = {
                "type": heard["header"]["msg_type"],
                "parent": heard["parent_header"].get("msg_id", ""),
                "content": heard["content"],
                "buffers": [base64.b64encode(buffer).decode() for buffer in heard["buffers"]],
            }
            if message["parent"] in self.questions:
                self.is_back.set()
            if message["type"] not in ("status", "execute_input"):
                self.said.append(message)
            for listener in list(self.listeners):
                listener.write_message(json.dumps(message, default=str))

    async def hear(self, message: dict[str, Any]) -> None:
        """Carry out what the page asks."""
        if message["type"] == "interrupt":
            await self.manager.interrupt_kernel()
        elif message["type"] == "restart":
            self.said.clear()
            await self.manager.restart_kernel(now=True)
            # What the new kernel says is heard in `start` alone: two listeners would take it from each other.
            self.is_back.clear()
            while not self.is_back.is_set():
                self.questions.add(self.client.kernel_info())
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self.is_back.wait(), 1)
            for listener in self.listeners:
                listener.write_message(json.dumps({"type": "restarted"}))
        else:
            sent = self.client.session.msg(message["type"], message["content"])
            if "id" in message:
                sent["header"]["msg_id"] = sent["msg_id"] = message["id"]
            sent["buffers"] = [base64.b64decode(buffer) for buffer in message.get("buffers", [])]
            self.client.shell_channel.send(sent)


class Channel(WebSocketHandler):
    """The page's end of the kernel."""

    def initialize(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def open(self, *_: str) -> None:
        for message in self.kernel.said:
            self.write_message(json.dumps(message, default=str))
        self.write_message(json.dumps({"type": "up to date"}))
        self.kernel.listeners.add(self)

    async def on_message(self, message: str | bytes) -> None:
        await self.kernel.hear(json.loads(message))

    def on_close(self) -> None:
        self.kernel.listeners.discard(self)


async def serve(port: int, frame_port: int, python: str) -> None:
    """Answer on both ports until the program is ended."""
    kernel = Kernel(python)
    Application(
        [
            ("/", Page, {"name": "notebook.html", "frame_port": frame_port}),
            ("/kernel", Channel, {"kernel": kernel}),
        ]
    ).listen(port, "127.0.0.1")
    Application([("/", Page, {"name": "frame.html", "frame_port": frame_port})]).listen(frame_port, "127.0.0.1")
    await kernel.start()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
