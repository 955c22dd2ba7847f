import time, httpx


def test_dbg(person, shop):
    tab = person()

    try:
        tab.open(shop.at + "/ui/")
        print("opened fine")
    except Exception as e:
        print("HANG", e)
        t = time.monotonic()
        try:
            r = httpx.get(shop.at + "/ui/sign-in", timeout=5)
            print("httpx", r.status_code, time.monotonic() - t)
        except Exception as e2:
            print("httpx fails", e2)
        import subprocess

        print(
            subprocess.run(
                "ps aux --sort=-%cpu | grep -v grep| grep -E 'chrom' | head -4 | cut -c1-130; uptime",
                shell=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        try:
            print("run", tab.run("document.readyState + ' ' + location.href"))
        except Exception as e3:
            print("run fails", e3)
        reqs = {}
        for ev in tab._line.events:
            m, p = ev.get("method"), ev.get("params", {})
            if m == "Network.requestWillBeSent":
                reqs[p["requestId"]] = p["request"]["url"]
            if m in ("Network.loadingFinished", "Network.loadingFailed"):
                reqs.pop(p["requestId"], None)
        print("pending", reqs)
        print(
            [
                (ev.get("method"), str(ev.get("params"))[:150])
                for ev in tab._line.events
                if "Frame" not in ev.get("method", "")
            ][-20:]
        )
