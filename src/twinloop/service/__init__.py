"""The live platform: reports in, twins that last, decisions out, over HTTP and MQTT; the only home of FastAPI."""
