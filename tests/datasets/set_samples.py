"""Small samples of every public set, made here in the sets' formats, traps included."""

import zipfile
from pathlib import Path

import numpy as np

IRISH_HEADER = (
    "Timestamp,Longitude,Latitude,Speed,Operatorname,CellID,NetworkMode,RSRP,RSRQ,SNR,CQI,RSSI,DL_bitrate,UL_bitrate,"
    "State,PINGAVG,PINGMIN,PINGMAX,PINGSTDEV,PINGLOSS,CELLHEX,NODEHEX,LACHEX,RAWCELLID,NRxRSRP,NRxRSRQ"
)
TRACTOR_HEADER = (
    "Timestamp,num_ues,IMSI,RNTI,,slicing_enabled,slice_id,slice_prb,power_multiplier,scheduling_policy,,dl_mcs,"
    "dl_n_samples,dl_buffer [bytes],tx_brate downlink [Mbps],tx_pkts downlink,tx_errors downlink (%),dl_cqi,,ul_mcs,"
    "ul_n_samples,ul_buffer [bytes],rx_brate uplink [Mbps],rx_pkts uplink,rx_errors uplink (%),ul_rssi,ul_sinr,phr,,"
    "sum_requested_prbs,sum_granted_prbs,,dl_pmi,dl_ri,ul_n,ul_turbo_iters"
)
LOG_HEADER = (
    "representation_index,rebuffering_duration,video_bitrate,chunk_duration,chunk_size,qp,framerate,width,height,"
    "is_best,psnr,ssim,vmaf"
)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def svs(data: Path) -> Path:
    folder = data / "svs_challenge"
    write(folder / "user_ret/1_tj", "0\t1\n1\t0.9\n2\t0.6\n3\t0.5\n4  0")
    write(folder / "user_ret/7_yd", "0\t1\n1\t0.5\n2\t0.25\n3 0")
    for version, size in enumerate((90_000, 150_000, 230_000)):
        write(folder / f"short_video_size/1_tj/video_size_{version}", "".join(f"{size + k}\n" for k in range(3)))
    write(folder / "network_traces/low/1", "0 0.2\n0.5 1.5\n1.0 0.2\n")
    return folder


def dashlet(data: Path) -> Path:
    folder = data / "dashlet_turk"
    write(folder / "v1.txt", "0.25\n0.125\n0.125\n0.5\n")
    write(folder / "placeholder.txt", "0.25\n0.25\n0.25\n0.25\n")
    return folder


def kuairand(data: Path) -> Path:
    rows = ["user_id\tvideo_id\tplay_time_ms\tduration_ms\tlabel", "2\t10\t12000\t8000\t1", "2\t11\t700\t0\t0"]
    return write(data / "kuairand_explicit/even_users.tsv", "\n".join([*rows, "4\t10\t2000\t8000\t0"]) + "\n").parent


def irish_row(second: int, rsrp: str = "-99", snr: str = "6.0", rate: str = "8000", cell: str = "C") -> str:
    start = f"2019.12.14_10.16.{second:02d},-8.38,51.93,36,B,12,5G,{rsrp},-15,{snr},12,-,{rate},1,D,-,-,-,-,-,{cell},"
    return start + "A81B,9CBA,11016972,-100.0,-15.0"


def irish(data: Path, rows: dict[str, list[str]] | None = None) -> Path:
    """The zip file, with `rows` by member; by default one bulk download with every trap and one limited by Netflix."""
    seconds = [irish_row(30), irish_row(30, rate="4000"), irish_row(31, "-200", "-"), irish_row(34, cell="D")]
    every = rows or {"Download/Driving/B_1.csv": seconds, "Netflix/Static/Show/B_2.csv": [irish_row(1), irish_row(2)]}
    archive = data / "irish5g/irish5g.zip"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w") as opened:
        for name, lines in every.items():
            opened.writestr(f"5G-production-dataset/{name}", "\n".join([IRISH_HEADER, *lines]) + "\n")
    return archive


def sutd(data: Path) -> Path:
    header = "Time,NR-ARFCN,RSRP,RSRQ,SINR,PDSCH_MCS,PDSCH PRBs,throughput_DL,lab_anom"
    sinr = np.linspace(-5, 30, 60)
    rate = 0.5 * 46.08e6 * np.log2(1 + 10 ** (sinr / 10))
    rows = [
        f"2022-10-06 11:{44 + k // 60}:{k % 60:02d}.250,628416,-90,-10.3,{sinr[k]},12,128,{rate[k]:.0f},0"
        for k in range(60)
    ]
    rows[1] = f"2022-10-06 11:44:01.250,628416,-90,-10.3,{sinr[1]},12,128,{rate[0]:.0f},1"
    rows[3] = "2022-10-06 11:44:03.250,628416,-90,-10.3,,,,0,0"
    for units in ("1RRU", "AllRRU"):
        write(data / f"sutd5g/Lvl6_{units}On_Anomaly_label.csv", "\n".join([header, *rows]) + "\n")
    return data / "sutd5g"


def throughput(data: Path) -> None:
    write(data / "norway_hsdpa/norway_bus_1", "0.0\t4.03\n0.55\t4.79\n1.9\t0.3\n")
    write(data / "oboe/oboe_trace_1.txt", "0.222\t6.7\n3.6\t6.8\n")


def waterloo(data: Path) -> Path:
    folder = data / "waterloo4"
    scores = " ".join(["80"] * 31 + ["0"])
    header = "streaming_log,mos,individual_scores,abr,content,encoding_profile,device,trace"
    phone = " ".join(["50"] * 29)
    rows = [f"0001.csv,80.000,[{scores}],RateBased,document,H264,hdtv,1", f"0002.csv,50,[{phone}],BBA,a,HEVC,phone,2"]
    write(folder / "data.csv", "\n".join([header, *rows]) + "\n")
    chunk = "9,{stall},5091.68,4,2545840,10.1,30.0,1920.0,1080.0,0,53.5,0.997,97"
    for name in ("0001", "0002"):
        chunks = [chunk.format(stall=1.5 if k == 0 else 0.0) for k in range(7)]
        write(folder / f"streaming_logs/{name}.csv", "\n".join([LOG_HEADER, *chunks]) + "\n")
    return folder


def walk_text(position_m: np.ndarray, step_s: float = 30.0) -> str:
    rows = [f"  {k * step_s:.6e}\t {x:.6e}\t {y:.6e}\t\r" for k, (x, y) in enumerate(position_m)]
    return "\n".join(rows) + "\n"


def kaist(data: Path, walks: int = 3) -> Path:
    """Walks of short and long flights between rests; the first one with a jump of the receiver."""
    generator = np.random.default_rng(1)
    for walk in range(walks):
        steps = []
        for length in 50 * generator.pareto(0.8, 60).clip(0, 40) + 30:
            pieces = max(int(length / 40), 1)
            angle = generator.uniform(0, 2 * np.pi)
            steps += [length / pieces * np.array([np.cos(angle), np.sin(angle)])] * pieces
            steps += [np.zeros(2)] * int(generator.integers(2, 20))
        if walk == 0:
            steps[5:5] = [np.array([3000.0, 0.0]), np.array([-3000.0, 0.0])]
        position = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
        write(data / f"kaist_walks/KAIST_30sec_{walk + 1:03d}.txt", walk_text(position))
    return data / "kaist_walks"


def eua(data: Path) -> Path:
    rows = ["SITE_ID,LATITUDE,LONGITUDE,NAME,STATE,ELEVATION", '1,-37.81,144.97,"Corner, North",VIC,']
    return write(data / "eua_melbourne/site-optus-melbCBD.csv", "\n".join([*rows, "2,-37.82,144.95,B,VIC,12.0"]) + "\n")


def tractor_row(epoch_ms: int, mbps: float) -> str:
    return f"{epoch_ms},1,1010123456002,70,,1,0,50,1,1,,1.2,10,300,{mbps},0,0,9,,0,3,0,0.1,1,0,0,0,31,,4,2,,0,0,0,0"


def tractor(data: Path) -> Path:
    rows = [tractor_row(1_700_171_855_347 + 250 * k, mbps) for k, mbps in ((0, 0), (1, 2.5), (5, 0))]
    return write(data / "tractor_oran/embb_03_03a.csv", "\n".join([TRACTOR_HEADER, *rows]) + "\n")


def lte(data: Path) -> Path:
    rows = ["DateTime,Traffic\r", "10/23/2017 0:00,59.0\r", "10/23/2017 1:00,40.5\r", "10/23/2017 5:00,1\r"]
    return write(data / "lte_cell_hourly/Cell_000113/train_Cell000113.csv", "\n".join(rows) + "\n")


def edge(data: Path) -> Path:
    header = "cpu_util_percent,mem_util_percent,net_in,net_out,disk_io_percent"
    return write(
        data / "edge_load/alibaba2018_300s.csv", f"{header}\n16.1,87.1,34.8,27.6,4.0\n18.4,86.8,34.9,27.6,4.1\n"
    )


def every_set(data: Path) -> Path:
    for make in (svs, dashlet, kuairand, irish, sutd, throughput, waterloo, kaist, eua, tractor, lte, edge):
        make(data)
    return data
