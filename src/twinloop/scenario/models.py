"""The scenario file, field by field. Every field has a unit in its name, a default where one makes sense, and
limits.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from twinloop.entities import SERVICES
from twinloop.scenario.infrastructure import Network, NotNegative, Part, Point, Positive, Probability, Seconds

MAX_USERS = 10_000_000
SLOT_S = 1.0


def _known_service(name: str) -> str:
    if name not in SERVICES:
        raise ValueError(f"no service {name!r}; there are {', '.join(SERVICES)}")
    return name


Score = Annotated[float, Field(ge=1, le=5)]


class Slice(Part):
    """A slice: its S-NSSAI, what every user of it is promised, and the share of each resource that is its own."""

    name: str
    sst: Annotated[int, Field(ge=0, le=255)] = 1
    sd: Annotated[str, Field(pattern="^[0-9A-Fa-f]{6}$")] = "000001"
    service: Annotated[str, AfterValidator(_known_service)] = "short_video"
    target_bps: Positive = 1.7e6
    floor_share: Probability = 0.1
    weight: Positive = 1.0


class Population(Part):
    """Users who share a slice and a way of moving. `groups` above 0 makes them watch shared playlists by multicast.

    Each is promised an experience of its own, drawn evenly from `ela` (experience level agreement, on the scale 1-5).
    `site` is where they live when each site is a world of its own.
    """

    count: Annotated[int, Field(ge=1, le=MAX_USERS)]
    slice: str
    mobility: Literal["levy", "waypoint", "path", "recorded"] = "levy"
    speed_kmh: tuple[Positive, Positive] = (2.0, 5.0)
    groups: Annotated[int, Field(ge=0)] = 0
    site: str | None = None
    ela: tuple[Score, Score] = (3.0, 5.0)

    @model_validator(mode="after")
    def _ordered(self) -> "Population":
        if self.speed_kmh[0] > self.speed_kmh[1]:
            raise ValueError(f"speed_kmh {list(self.speed_kmh)} must be [lowest, highest]")
        if self.ela[0] > self.ela[1]:
            raise ValueError(f"ela {list(self.ela)} must be [lowest, highest]")
        return self


class Site(Part):
    """A part of the network that reports by itself: its edge servers with their cells, and the ground that it covers.

    Run as a whole, a scenario knows no sites; `twinloop agent --site NAME` lives one of them.
    """

    name: Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    origin_m: Point
    size_m: tuple[Positive, Positive]
    servers: Annotated[list[str], Field(min_length=1)]


class Mobility(Part):
    """How people move; unset Levy figures are the shipped fit to recorded walks."""

    pause_max_s: NotNegative = 60.0
    levy_exponent: Positive | None = None
    paths_m: list[list[Point]] = Field(default_factory=list[list[Point]])


class Viewing(Part):
    """What people watch and when they leave. `real` takes catalogue and hazards from the data sets."""

    source: Literal["embedded", "real"] = "embedded"
    videos: Annotated[int, Field(ge=8, le=100_000)] = 1000
    requests: Literal["hazard", "poisson"] = "hazard"
    poisson_per_min: Positive = 6.0
    zipf: NotNegative = 0.8
    session_on_p: Probability = 0.0
    session_off_p: Probability = 0.0
    buffer_cap_s: Annotated[float, Field(gt=0, le=60)] = 6.0
    preload_s: NotNegative = 2.0


class Experience(Part):
    """How people feel what they get, which of it they tell, and what they were promised.

    A user minds stalling, quality or both, as `rules` shares them out; kappa, the weight of behaviour and environment,
    is 0 for a share `indifferent` of the users and drawn evenly from `kappa` for the others. At the end of a minute a
    user rates it with chance `rating_p`; scores scatter about the true experience with `variance` by rule. `history`
    minutes were rated before the run. `bend` above 0 makes people feel in a way that no model of a twin contains.
    """

    rules: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0)
    indifferent: Probability = 1.0 / 3.0
    kappa: tuple[NotNegative, NotNegative] = (0.05, 0.2)
    stall_weight: Annotated[float, Field(gt=0, le=10)] = 0.1
    variance: tuple[Positive, Positive, Positive] = (0.8, 0.8, 0.8)
    rating_p: Probability = 0.25
    history: Annotated[int, Field(ge=0, le=128)] = 20
    bend: Annotated[float, Field(ge=0, le=4)] = 0.0

    @model_validator(mode="after")
    def _ordered(self) -> "Experience":
        if self.kappa[0] > self.kappa[1]:
            raise ValueError(f"kappa {list(self.kappa)} must be [lowest, highest]")
        return self


class AttributeRequest(Part):
    """How one attribute is collected; unset fields keep the attribute table's default.

    `send_on_delta` reports it where it differs by more than `delta` (in its unit) from the last value sent, looked at
    every `period_s`, and never stays silent for longer than `max_age_s`.
    """

    period_s: Positive | None = None
    bits: Annotated[int, Field(ge=1, le=24)] | None = None
    method: Literal["periodic", "on_change", "send_on_delta"] | None = None
    delta: Positive | None = None
    max_age_s: Positive = 30.0

    @model_validator(mode="after")
    def _complete(self) -> "AttributeRequest":
        if (self.method == "send_on_delta") != (self.delta is not None):
            raise ValueError("method send_on_delta and delta are given together or not at all")
        return self


class Collection(Part):
    """How reports are asked for and made, and what happens to them on their way.

    `adaptive` starts from `attributes` and sets periods (a ladder of slots), precision and alarms by slice as it learns
    (docs/collection.md); `periodic` keeps to them. `tolerance` is the change, in standard deviations over all users,
    that is reported at once on average; changes above `ride` of it ride along on a report. An attribute climbs the
    ladder after `calm_looks` looks with an error under `error_low` and falls at once above `error_high`; nothing is
    silent for longer than `max_age_s`. `triggers` false is for agents that can only report periodically.
    """

    method: Literal["adaptive", "periodic"] = "adaptive"
    tolerance: Annotated[float, Field(gt=0, le=2)] = 0.1
    ride: Annotated[float, Field(gt=0, le=1)] = 0.25
    ladder_slots: Annotated[list[Annotated[int, Field(ge=1, le=3600)]], Field(min_length=1, max_length=16)] = Field(
        default_factory=lambda: [1, 2, 4, 8, 16, 32]
    )
    calm_looks: Annotated[int, Field(ge=1, le=100)] = 3
    error_low: Probability = 0.3
    error_high: Probability = 0.6
    max_age_s: Annotated[float, Field(ge=1, le=55)] = 32.0
    cell_budget_bps: Positive | None = None
    triggers: bool = True
    importance: bool = True
    discriminator: Probability = 0.0
    attributes: dict[str, AttributeRequest] = Field(default_factory=dict[str, AttributeRequest])
    loss_p: Probability = 0.01
    late_p: Probability = 0.05
    late_slots: Annotated[int, Field(ge=0, le=8)] = 2
    duplicate_p: Probability = 0.01
    position_noise_m: NotNegative = 3.0
    radio_noise_db: NotNegative = 1.0

    @model_validator(mode="after")
    def _climbable(self) -> "Collection":
        if self.ladder_slots != sorted(set(self.ladder_slots)):
            raise ValueError(f"ladder_slots {self.ladder_slots} must rise from rung to rung")
        if self.error_low >= self.error_high:
            raise ValueError(f"error_low {self.error_low:g} must be below error_high {self.error_high:g}")
        return self


class Mismatch(Part):
    """How the twin's own simulator differs from the network: factors (1 = equal) and an additive radio bias."""

    se_factor: Positive = 0.92
    hazard: Positive = 1.15
    cycles_per_bit: Positive = 1.1
    exponent_bias: float = 0.1
    power_bias_db: float = -1.0


class Judge(Part):
    """The internal loop: rollouts in the twin of every proposal and of the standing decision.

    A slot's proposal is approved if it scores at most `tolerance` below what stands. New slices must score
    `window_margin` above those that stand; below 0, they may score that much less.
    """

    slot_horizon: Annotated[int, Field(ge=1, le=60)] = 3
    window_horizon: Annotated[int, Field(ge=1, le=600)] = 24
    samples: Annotated[int, Field(ge=1, le=256)] = 4
    cvar_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    cvar_weight: Probability = 0.25
    tolerance: NotNegative = 0.01
    window_margin: Annotated[float, Field(ge=-1, le=1)] = -0.01
    mismatch: Mismatch = Mismatch(
        se_factor=0.88, hazard=0.9, cycles_per_bit=1.05, exponent_bias=-0.05, power_bias_db=0.5
    )


class Worth(Part):
    """What the twins are worth: weights of how true they are, what they gain and what they cost.

    `budget` is the share of bandwidth and cycles that they may take; taking it all costs 1.
    """

    fidelity: NotNegative = 1.0
    gain: NotNegative = 1.0
    cost: NotNegative = 1.0
    budget: Annotated[float, Field(gt=0, le=1)] = 0.05


class Upkeep(Part):
    """How the twins' model of when viewers leave is kept current in a run (docs/upkeep.md).

    In slots with views it is looked at `look_views` of them at most. After an alarm, or `refresh` after anything was
    last done, `gather` looks are collected, a new version is trained beside operation, tried on `trial` looks that came
    after, and serves on probation for `probation` looks; it is taken into trial `training` after its training began.
    `drill`, if given, puts a spoiled version into service at that time, to see it rolled back.
    """

    enabled: bool = True
    look_views: Annotated[int, Field(ge=8, le=4096)] = 32
    gather: Annotated[int, Field(ge=10, le=1000)] = 40
    trial: Annotated[int, Field(ge=5, le=1000)] = 15
    probation: Annotated[int, Field(ge=10, le=1000)] = 40
    training: Seconds = 15.0
    refresh: Seconds = 600.0
    threshold: Annotated[float, Field(gt=0, le=1000)] = 12.0
    replay: Probability = 0.25
    drill: Seconds | None = None


class Twin(Part):
    """The twins: how much they remember, how they foresee, and what they believe of the physics.

    `history` reports and the newest `ratings` scores are kept of every user; with 0 nobody's experience
    is followed.
    """

    history: Annotated[int, Field(ge=2, le=4096)] = 16
    ratings: Annotated[int, Field(ge=0, le=1024)] = 64
    emulator: Literal["last_value", "ewma", "kalman", "combined"] = "combined"
    trained_emulator: str | None = None
    control: Literal["none", "frozen", "shuffled"] = "none"
    control_from: Seconds = 60.0
    inference_cycles_per_user: NotNegative = 1e6
    upkeep: Upkeep = Upkeep()
    value: Worth = Worth()
    mismatch: Mismatch = Mismatch()
    judge: Judge = Judge()


class Policy(Part):
    """Who decides: reservation for the window, allocation for the slot.

    `utility`, `alpha` (of alpha-fairness) and `floor` (the share of its need that every user is given first) are those
    of the utility allocation. `objective` is what the internal loop judges proposals by. Agents keep agreements with
    `confidence` over `prospects` samples of the next `prospect_minutes`, reports granted at one of `reports_per_s`.
    Slices are decided once a `window` (`fixed`), or when people and links have changed enough (`adaptive`, 3 to 15
    minutes). With `admission`, the twins judge orders of slices (docs/admission.md), by the satisfaction
    `agreed_satisfaction` where nobody's experience is followed.
    """

    reservation: Literal["equal", "greedy", "convex", "gain", "game", "agents"] = "convex"
    allocation: Literal["round_robin", "proportional_fair", "utility", "experience", "groups", "pdrl"] = "utility"
    utility: Literal["satisfaction", "log_quality", "alpha_fair"] = "satisfaction"
    alpha: Annotated[float, Field(gt=0, le=10)] = 1.0
    floor: Probability = 0.0
    objective: Literal["satisfaction", "experience"] = "satisfaction"
    demand_margin: Annotated[float, Field(ge=0, le=2)] = 0.2
    windows: Literal["fixed", "adaptive"] = "fixed"
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.7
    prospects: Annotated[int, Field(ge=1, le=256)] = 6
    prospect_minutes: Annotated[int, Field(ge=1, le=15)] = 3
    reports_per_s: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1, max_length=8)] = (
        1.0,
        0.25,
    )
    admission: bool = True
    agreed_satisfaction: Probability = 0.8

    @property
    def experiential(self) -> bool:
        """True where anything is decided by how people feel."""
        asked = {self.allocation, self.objective, self.reservation, self.windows}
        return not asked.isdisjoint({"experience", "groups", "pdrl", "agents", "adaptive"})


class Enforcement(Part):
    """How actions reach the network: the chance that one is lost, and after how many losses in a row to roll back.

    Where reconfiguration `freezes`, a slice whose reservation changes serves nobody in the first slot after it.
    """

    failure_p: Probability = 0.01
    retries: Annotated[int, Field(ge=0, le=60)] = 3
    freezes: bool = False


class Event(Part):
    """A change in the life of a slice at a set time."""

    at: Seconds
    change: Literal["create", "adjust", "end"]
    slice: str
    target_bps: Positive | None = None
    floor_share: Probability | None = None
    weight: Positive | None = None


class Drift(Part):
    """A change of people's behaviour at a set time, of which nobody tells the twins.

    `impatience` multiplies everybody's hazard of leaving by `factor`, `speed` the bounds of everybody's speed;
    `exchange` makes the most patiently watched class of videos as hazardous as the least, and so on.
    """

    at: Seconds
    change: Literal["impatience", "exchange", "speed"]
    factor: Annotated[float, Field(gt=0, le=20)] | None = None

    @model_validator(mode="after")
    def _complete(self) -> "Drift":
        if (self.change == "exchange") != (self.factor is None):
            raise ValueError("factor is given with change impatience or speed, and only with them")
        return self


class Replay(Part):
    """Measured radio that drives the channel instead of the models."""

    dataset: Literal["irish5g"] = "irish5g"
    kind: Literal["all", "static", "driving"] = "all"


class Scenario(Part):
    """A whole scenario: network, people, slices, twins, policy, and how long to run."""

    name: Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    title: str
    description: str = ""
    duration: Seconds = 1800.0
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    window: Seconds = 180.0
    area_m: tuple[Positive, Positive]
    network: Network
    slices: Annotated[list[Slice], Field(min_length=1, max_length=64)]
    users: Annotated[list[Population], Field(min_length=1)]
    mobility: Mobility = Mobility()
    viewing: Viewing = Viewing()
    experience: Experience = Experience()
    collection: Collection = Collection()
    twin: Twin = Twin()
    policy: Policy = Policy()
    enforcement: Enforcement = Enforcement()
    sites: list[Site] = Field(default_factory=list[Site])
    events: list[Event] = Field(default_factory=list[Event])
    drifts: list[Drift] = Field(default_factory=list[Drift])
    replay: Replay | None = None

    @property
    def needs_data(self) -> bool:
        """True when the scenario reads public data sets."""
        recorded = any(population.mobility == "recorded" for population in self.users)
        return recorded or self.viewing.source == "real" or self.replay is not None

    @property
    def user_count(self) -> int:
        """Number of users over all populations."""
        return sum(population.count for population in self.users)

    @property
    def created_later(self) -> set[str]:
        """Names of the slices that do not stand at the start: those whose first event creates them."""
        first: dict[str, str] = {}
        for event in sorted(self.events, key=lambda entry: entry.at):
            first.setdefault(event.slice, event.change)
        return {name for name, change in first.items() if change == "create"}

    @model_validator(mode="after")
    def _consistent(self) -> "Scenario":
        names = [entry.name for entry in self.slices]
        if len(set(names)) < len(names):
            raise ValueError(f"two slices have one name: {', '.join(names)}")
        for population in self.users:
            if population.slice not in names:
                raise ValueError(f"users name slice {population.slice!r}; there are {', '.join(names)}")
            if population.mobility == "path" and not self.mobility.paths_m:
                raise ValueError("users move by path, but mobility.paths_m is empty")
        sites = [site.name for site in self.sites]
        if len(set(sites)) < len(sites):
            raise ValueError(f"two sites have one name: {', '.join(sites)}")
        for site in self.sites:
            unknown = set(site.servers) - {server.name for server in self.network.servers}
            if unknown:
                raise ValueError(f"site {site.name!r} names servers that there are not: {', '.join(sorted(unknown))}")
        for population in self.users:
            if population.site is not None and population.site not in sites:
                raise ValueError(f"users name site {population.site!r}; there are {', '.join(sites) or 'none'}")
        for drift in self.drifts:
            if drift.at % 60:
                raise ValueError(f"drift at {drift.at:g} s must be at a multiple of 60 s")
        for event in self.events:
            if event.at % 60:
                raise ValueError(f"event at {event.at:g} s must be at a multiple of 60 s")
            if event.slice not in names:
                raise ValueError(f"an event names slice {event.slice!r}; there are {', '.join(names)}")
        created = self.created_later
        if sum(entry.floor_share for entry in self.slices if entry.name not in created) > 1 + 1e-6:
            raise ValueError("the slices' floor_share sum to more than 1; lower them")
        if self.twin.ratings == 0 and self.policy.experiential:
            raise ValueError("policy by experience needs twins that follow it; set twin.ratings above 0")
        if self.window % 60:
            raise ValueError(f"window {self.window:g} s must be a multiple of 60 s")
        if self.user_count > MAX_USERS:
            raise ValueError(f"{self.user_count} users are more than {MAX_USERS}")
        return self
