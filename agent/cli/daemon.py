"""The daemon's command."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from typing import Annotated

import typer

from agent.cli.measure import Planner
from agent.cli.session import Session


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option("--host", help="Where the status page listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", help="Of the status page; 0 picks a free one.")] = 8090,
    triage: Annotated[str, typer.Option("--triage", metavar="CRON", help="When the nightly run is due.")] = "0 2 * * *",
    gateway_port: Annotated[
        int, typer.Option("--gateway-port", metavar="N", help="Of the first model's gateway; the next ones count up.")
    ] = 8080,
    gateway: Annotated[bool, typer.Option("--gateway/--no-gateway", help="Serve the models' endpoints too.")] = True,
    planner: Planner = None,
) -> None:
    """The daemon: gateways, the nightly run, rollouts, alerts, Slack where configured, a status page."""
    from agent.daemon.daemon import Daemon, Settings
    from agent.daemon.gateways import Gateways, served_here
    from agent.daemon.job import TriageJob
    from agent.daemon.schedule import cron
    from agent.planners.choice import must_work
    from agent.slack.app import credentials

    session: Session = context.obj
    settings = Settings(cron(triage), host, port, must_work(planner), os.environ.get("GUARDIAN_API_KEY") or None)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    models = served_here(session.systems) if gateway else []
    daemon = Daemon(
        session.systems,
        settings,
        job=TriageJob(session.operations, settings.planner, session.say),
        gateways=Gateways(session.operations, models, gateway_port, session.say) if models else None,
        slack=credentials(),
        say=session.say,
    )
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: daemon.stop())

    def ready(url: str) -> None:
        if session.as_json:
            sys.stdout.write(json.dumps({"url": url, "pid": os.getpid(), "planner": settings.planner}) + "\n")
            sys.stdout.flush()
        session.say(f"status page at {url}, planner {settings.planner}; end it with Ctrl-C or SIGTERM")

    daemon.serve(ready)
    if any(not each.daemon for each in threading.enumerate() if each is not threading.main_thread()):
        session.close()  # a worker is still in a call: what it does is continued by the next start
        sys.stdout.flush()
        os._exit(0)


COMMANDS = {"serve": serve}
"""Commands that stay."""
