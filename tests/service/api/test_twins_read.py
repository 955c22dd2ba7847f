def test_try(stage):
    stage.live(10)
    print(stage.known("/twins/user", limit=2))
    print(stage.known("/network"))
