"""The data sets of Table 3: folders, archives, and what protocol Z makes of them."""

import gzip
import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.experiments.anomaly import archives, data, protocol
from vaeiso_monitor.experiments.anomaly.encoding import Encoding, encode

KDD_LINES = [
    "0,tcp,http,SF,181,5450" + ",0" * 34 + ",0.11,normal.",
    "0,icmp,ecr_i,SF,1032,0" + ",0" * 34 + ",0.07,smurf.",
    "0,icmp,ecr_i,SF,1032,0" + ",0" * 34 + ",0.07,smurf.",
    "5,udp,private,S0,3,693375640" + ",0" * 34 + ",1.00,neptune.",
]


def kdd_arrays():
    vocabularies = [["icmp", "tcp", "udp"], ["ecr_i", "http", "private", "unseen"], ["S0", "SF"]]
    fields = [line.split(",") for line in KDD_LINES]
    x = np.array(
        [
            [vocabularies[j - 1].index(v) if j in (1, 2, 3) else float(v) for j, v in enumerate(f)]
            for f in (fields_[:-1] for fields_ in fields)
        ]
    )
    names = np.array([f"c{j}" for j in range(x.shape[1])])
    names = names.astype("U9")
    names[[4, 5]] = ["src_bytes", "dst_bytes"]
    return {
        "X": x.astype(np.float32),
        "y": np.array([f[-1] == "normal." for f in fields], dtype=np.int8),
        "feature_names": names,
        "src_bytes_exact": x[:, 4].astype(np.int64),
        "dst_bytes_exact": x[:, 5].astype(np.int64),
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for name, width in (("thyroid", 6), ("arrhythmia", 9)):
        y = (np.arange(80) % 10 == 0).astype(np.int8)
        np.savez(tmp_path / f"{name}.npz", X=rng.normal(size=(80, width)).astype(np.float32), y=y)
    np.savez(tmp_path / "kddcup99_10pct_raw.npz", **kdd_arrays())
    monkeypatch.setenv("VAEISO_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def no_folder(monkeypatch):
    monkeypatch.delenv("VAEISO_DATA", raising=False)


@pytest.mark.usefixtures("folder")
def test_a_small_set_is_read_from_the_folder():
    found = data.load("thyroid")
    assert (found.numbers.shape, found.categories.shape) == ((80, 6), (80, 0))
    assert (found.ratio, found.anomaly.sum()) == (0.025, 8)
    assert data.load("arrhythmia").ratio == 0.15


@pytest.mark.usefixtures("folder")
def test_repeated_records_are_stored_once_and_normal_is_the_anomaly():
    found = data.load("kddcup99")
    assert found.numbers.shape == (3, 34)
    assert found.categories.shape == (3, 7)
    assert found.rows[1] == found.rows[2] != found.rows[0]
    assert found.anomaly.tolist() == [True, False, False, False]
    assert found.numbers[found.rows[3]].max() == 693375640  # more than a float32 can hold


@pytest.mark.usefixtures("folder")
def test_in_rev_attacks_are_the_anomalies():
    found = data.load("kddcup99-rev")
    assert found.anomaly.tolist() == [False, True, True, True]
    assert found.drawn_share == 0.2


@pytest.mark.parametrize("name", ["kddcup99", "thyroid"])
def test_archives_and_folder_give_the_same_records(name, folder, monkeypatch):
    kept = folder / "kept"
    kept.mkdir()
    of_folder = data.load(name)
    monkeypatch.delenv("VAEISO_DATA")
    path = kept / f"{name}.archive"
    if name == "kddcup99":
        with gzip.open(path, "wt") as lines:
            lines.writelines(f"{line}\n" for line in KDD_LINES)
    else:
        with np.load(folder / "thyroid.npz") as arrays, path.open("wb") as file:
            savemat(file, {"X": arrays["X"].astype(np.float64), "y": arrays["y"][:, None]})
    here = archives.Archive(path.name, (), (hashlib.sha256(path.read_bytes()).hexdigest(),))
    monkeypatch.setattr(data, "KDDCUP99" if name == "kddcup99" else "THYROID", here)
    of_archive = data.load(name, kept)
    assert np.array_equal(of_archive.anomaly, of_folder.anomaly)
    encoded = [
        encode(each, each.rows, Encoding("min-max"))[each.rows] for each in (of_archive, of_folder)
    ]
    assert np.array_equal(encoded[0], encoded[1])


def test_a_folder_without_the_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("VAEISO_DATA", str(tmp_path))
    with pytest.raises(ConfigError, match=r"does not hold thyroid\.npz"):
        data.load("thyroid")


def test_an_unknown_set_is_refused():
    with pytest.raises(ConfigError, match='no data set "iris"; there are kddcup99'):
        data.load("iris")


@pytest.fixture
def server(tmp_path):
    served = tmp_path / "served"
    served.mkdir()
    handler = partial(QuietHandler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield served, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def test_a_download_is_checked_and_kept(server, tmp_path):
    served, url = server
    (served / "good").write_bytes(b"records")
    (served / "damaged").write_bytes(b"recrods")
    right = hashlib.sha256(b"records").hexdigest()
    urls = (f"{url}/missing", f"{url}/damaged", f"{url}/good")
    cache = tmp_path / "cache"
    path = archives.obtain(archives.Archive("set", urls, (right,)), cache)
    assert path.read_bytes() == b"records"
    assert archives.obtain(archives.Archive("set", (), (right,)), cache) == path
    path.write_bytes(b"recrods")  # damaged on disk: fetched again
    assert (
        archives.obtain(archives.Archive("set", urls, (right,)), cache).read_bytes() == b"records"
    )


def test_where_no_copy_is_good_each_server_is_named(server, tmp_path):
    served, url = server
    (served / "damaged").write_bytes(b"recrods")
    urls = (f"{url}/missing", f"{url}/damaged")
    with pytest.raises(ConfigError) as caught:
        archives.obtain(archives.Archive("set", urls, ("0" * 64,)), tmp_path / "cache")
    words = str(caught.value)
    assert "404" in words
    assert hashlib.sha256(b"recrods").hexdigest() in words
    assert "VAEISO_DATA" in words
    assert not (tmp_path / "cache").exists()


# protocol Z


def made(count=200, every=5, drawn_share=None):
    rng = np.random.default_rng(1)
    x = np.repeat(rng.normal(size=(count // 2, 3)), 2, axis=0)
    found = data.made_of("made", x, (), np.arange(count) % every == 0, 1 / every)
    return data.Dataset(
        found.name, found.numbers, found.categories, found.rows, found.anomaly, 0.2, drawn_share
    )


def test_half_trains_without_its_anomalies_and_half_tests():
    dataset = made()
    parts = protocol.split(dataset, 3)
    assert len(parts.test) == 100
    assert len(parts.train) == 100 - (40 - parts.truth.sum())
    again, other = protocol.split(dataset, 3), protocol.split(dataset, 4)
    assert np.array_equal(parts.test, again.test)
    assert not np.array_equal(parts.test, other.test)
    assert len(protocol.split(dataset, 3, max_train_records=17).train) == 17


def test_rev_draws_its_anomalies_anew_with_each_seed():
    dataset = made(every=2, drawn_share=0.2)
    sizes = [len(protocol.split(dataset, seed).test) for seed in range(3)]
    assert sizes == [63, 63, 63]  # half of 100 normal records and 25 of 100 anomalies
    normal = set(np.flatnonzero(~dataset.anomaly))
    drawn = [set(protocol._taken(dataset, np.random.default_rng(s))) - normal for s in range(2)]
    assert [len(each) for each in drawn] == [25, 25]
    assert drawn[0] != drawn[1]


def test_a_judgement_of_known_scores():
    scores = np.array([9.0, 8.0, 7.0, np.nan, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    truth = np.array([1, 0, 1, 1, 0, 0, 0, 0, 0, 0], dtype=bool)
    found = protocol.judge(scores, truth, 0.2)  # flags the NaN and the 9
    assert (found.precision, found.recall) == (1.0, 2 / 3)
    assert found.f1 == pytest.approx(0.8)
    assert found.auroc == pytest.approx(20 / 21)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40).filter(
        lambda pairs: len({anomaly for _, anomaly in pairs}) == 2
    )
)
def test_auroc_counts_pairs(pairs):
    scores = np.array([score for score, _ in pairs], dtype=np.float64)
    truth = np.array([anomaly for _, anomaly in pairs])
    gaps = scores[truth][:, None] - scores[~truth]
    expected = (gaps > 0).mean() + (gaps == 0).mean() / 2
    assert protocol.auroc(scores, truth) == pytest.approx(expected)


# encoding


@pytest.mark.parametrize("log_first", [False, True])
@pytest.mark.parametrize("numbers", ["min-max", "z-score", "yeo-johnson", "quantile"])
def test_encodings_are_fitted_on_the_training_records_alone(numbers, log_first):
    dataset = made()
    train = dataset.rows[:60]
    far = dataset.numbers.copy()
    far[np.setdiff1d(dataset.rows, train)] *= 100
    other = data.Dataset("far", far, dataset.categories, dataset.rows, dataset.anomaly, 0.2)
    here, there = (
        encode(each, train, Encoding(numbers, log_first=log_first)) for each in (dataset, other)
    )
    assert np.array_equal(here[train], there[train])
    assert not np.array_equal(here, there)


def test_constant_columns_keep_their_unit_categories_are_spread_and_values_clipped():
    x = np.array([[1.0, 5.0, 0], [2.0, 5.0, 2], [3.0, 5.0, 1], [900.0, 6.0, 1]])
    dataset = data.made_of("made", x, (2,), np.zeros(4, dtype=bool), 0.1)
    encoded = encode(dataset, dataset.rows[:3], Encoding("z-score", clip=4.0))[dataset.rows]
    assert encoded[:, 0] == pytest.approx([-(1.5**0.5), 0, 1.5**0.5, 4.0])
    assert encoded[:, 1].tolist() == [0, 0, 0, 1]
    assert encoded[:, 2:].tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 0]]
