"""The live platform: reports in, twins that last, decisions out, over HTTP and MQTT; the only home of FastAPI.

Its parts are entered one by one, so that an agent loads no web server and a server no agent.
"""

__all__: list[str] = []

__doors__ = ("agent", "configuration", "live_platform", "serve")
