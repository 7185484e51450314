"""Show cost against stale window on a page with controls: machine, CPUs, policies, and a build or a rate. Only
this machine can open the page, with the token in its address. Ctrl-C ends it.
"""

import asyncio
import secrets
import socket
import webbrowser
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sweep.command.options import Parser, add_config_dir
from sweep.errors import BadInput

HERE = "127.0.0.1"
APP = Path(__file__).parent.with_name("explore_app.py")


def options(parser: Parser) -> None:
    parser.add_argument("--port", metavar="N", type=int, default=0, help="where it listens; default a free port")
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")
    add_config_dir(parser)


def main(given: Namespace) -> None:
    if find_spec("marimo") is None:
        raise BadInput("sweep explore needs marimo: pip install 'xpfo-sweep[explore]'")
    from sweep.command.explored import FIRST, Setting, points
    from sweep.inputs.home import folders_of

    folders_of(given.config_dir)  # BadInput where it is none
    with socket.socket() as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind((HERE, given.port))
        except (OSError, OverflowError) as error:
            raise BadInput(f"--port={given.port}: {getattr(error, 'strerror', None) or error}") from None
        points(Setting(config_dir=given.config_dir), FIRST)  # the loops are compiled before anybody waits for a page
        token = secrets.token_urlsafe(16)
        place.listen()
        address = f"http://{HERE}:{place.getsockname()[1]}/?access_token={token}"
        print(f"{address}\nCtrl-C ends it.", flush=True)
        if not given.no_browser:
            webbrowser.open(address)
        _serve(place, token, given.config_dir)
    raise KeyboardInterrupt  # only Ctrl-C ends the server, which may have caught it


def _serve(place: socket.socket, token: str, config_dir: str | None) -> None:
    """Serve marimo's page on an open socket; marimo asks no network, since its own command is not used."""
    import marimo
    import uvicorn

    made: list[Any] = []  # marimo's own application, inside the one that it is mounted in

    def keep(app: Any) -> Any:
        made.append(app)
        return app

    builder = marimo.create_asgi_app(quiet=True, token=token)
    page: Any = builder.with_app(path="", root=str(APP), middleware=[keep]).build()

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        await page({**scope, "meta": {"config_dir": config_dir}}, receive, send)

    config = uvicorn.Config(serve, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    try:
        uvicorn.Server(config).run(sockets=[place])
    finally:  # a page that is still open keeps a thread, and that the process
        asyncio.run(made[0].state.session_manager.shutdown())
