"""The image experiment, small: known answers of its parts; `reproduce images` makes the runs."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from vaeiso_monitor.cli import main
from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.experiments.images import folder_set, generated_set, run_series, usual_config
from vaeiso_monitor.experiments.images.generated import metric_variances, rendered
from vaeiso_monitor.experiments.images.measurement import ImageLatent, measure
from vaeiso_monitor.experiments.images.network import ConvolutionalVae, ImageShape, initial
from vaeiso_monitor.experiments.images.run import run_images
from vaeiso_monitor.experiments.images.series import targets
from vaeiso_monitor.experiments.images.training import ImagesConfig, objective
from vaeiso_monitor.experiments.images.traversal import Traversal, groups, traversals
from vaeiso_monitor.experiments.ssim import Ssim
from vaeiso_monitor.model.distortion import SquaredError

CPU = torch.device("cpu")
BRIEF = ImagesConfig(latent_dim=3, filters=4, max_steps=4, batch_size=8)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def latent(rank, *, meaningful=True, norm=0.95):
    return ImageLatent(
        rank, rank - 1, 1.0, 20.0 / rank, 10.0 / rank, norm, 0.1, norm, 0.1, meaningful
    )


def test_generated_images_have_the_factors_they_say():
    images = generated_set(300, 32, seed=3)
    clean = 255 * rendered(torch.from_numpy(images.factors), 32).numpy()
    off = images.x - clean
    assert np.sqrt((off**2).mean()) == pytest.approx(0.03 * 255, rel=0.05)
    np.testing.assert_allclose(images.factors[:, 0].std(), 0.24, rtol=0.15)
    pixels = clean.reshape(-1, 32, 32) - 0.25 * 255
    across = (pixels.sum(1) * np.linspace(-31 / 32, 31 / 32, 32)).sum(1) / pixels.sum((1, 2))
    assert np.corrcoef(across, images.factors[:, 0])[0, 1] > 0.98
    assert images.digest() == generated_set(300, 32, seed=3).digest()
    assert images.digest() != generated_set(300, 32, seed=4).digest()


def test_the_metric_of_brightness_is_known():
    # with all other factors still, the image moves along one fixed direction: its variance is exact
    factors = np.tile([0.0, 0.0, 0.24, 0.0, 0.4], (50, 1))
    factors[:, 4] += np.linspace(-0.1, 0.1, 50)
    found = metric_variances(factors, 32, SquaredError())
    image = rendered(torch.from_numpy(factors), 32).numpy()
    np.testing.assert_allclose(found[0], image.var(0).sum(), rtol=1e-9)
    np.testing.assert_allclose(found[1:], 0, atol=1e-9)


@pytest.mark.parametrize("size", [16, 64])
def test_the_net_has_the_shape_it_says(size):
    shape = ImageShape(3, size, 5, 4)
    model = ConvolutionalVae(shape, initial(shape, seed=0))
    x = torch.rand(7, shape.width)
    mean, log_variance = model.encode(x)
    assert mean.shape == log_variance.shape == (7, 5)
    assert log_variance.mean().item() == pytest.approx(-3, abs=0.3)
    assert mean.std().item() > 0.1
    decoded = model.decode(mean)
    assert decoded.shape == x.shape
    assert 0 < decoded.min() < decoded.max() < 1


@pytest.mark.parametrize("size", [0, 4, 24])
def test_a_size_that_cannot_be_halved_is_refused(size):
    with pytest.raises(ValueError, match="power of two"):
        ImageShape(1, size, 2, 2)


def test_the_decomposed_loss_is_its_closed_form():
    """Its short steps estimate sum_j sigma_j^2 J_j'GJ_j, which the measurement has exactly."""
    shape = ImageShape(1, 16, 2, 4)
    model = ConvolutionalVae(shape, initial(shape, seed=1).double())
    x = np.random.default_rng(0).integers(0, 256, (3, 256), dtype=np.uint8)
    distortion, beta = SquaredError(), 0.5
    found = measure(model, distortion, x, beta)
    signs = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    images = torch.from_numpy(x).double() / 255
    values = [
        objective(model, distortion, images, sign.expand(3, 2), beta, "decomposed").mean()
        for sign in signs
    ]
    kl = sum(row.kl_nats for row in found.latents)
    coding = (torch.stack(values).mean().item() - kl) * beta - found.transform_loss
    assert coding == pytest.approx(found.coding_loss, rel=0.02)


def test_forward_mode_and_finite_differences_agree():
    shape = ImageShape(1, 16, 3, 4)
    model = ConvolutionalVae(shape, initial(shape, seed=2))
    x = np.random.default_rng(1).integers(0, 256, (5, 256), dtype=np.uint8)
    found = measure(model, Ssim(1, 16, 16), x, 0.1)
    for row in found.latents:
        assert row.difference_mean == pytest.approx(row.norm_mean, rel=1e-3)
    assert [row.latent for row in found.latents] == [1, 2, 3]
    assert sorted((row.importance for row in found.latents), reverse=True) == [
        row.importance for row in found.latents
    ]
    assert found.means.shape == (5, 3)


def test_large_medium_and_small_latents_are_chosen():
    table = [latent(rank, meaningful=rank <= 6) for rank in range(1, 9)]
    chosen = [(group, row.latent) for group, row in groups(table)]
    assert chosen == [
        ("large", 1), ("large", 2), ("large", 3), ("medium", 5), ("medium", 6), ("small", 8),
    ]  # fmt: skip
    assert [group for group, _ in groups(table[:2])] == ["large", "medium"]


def test_a_traversal_starts_at_minus_two_and_comes_back_from_json():
    shape = ImageShape(1, 16, 2, 4)
    model = ConvolutionalVae(shape, initial(shape, seed=0))
    (first, _) = traversals(model, [latent(1), latent(2)])
    z = torch.tensor([[-2.0, 0.0]], dtype=torch.float64)
    expected = 255 * model.exact().decode(z)[0]
    np.testing.assert_allclose(first.images[0], expected.numpy(), atol=0.51)
    again = Traversal.from_dict(json.loads(json.dumps(first.to_dict())))
    assert np.array_equal(again.images, first.images)
    assert again.change == first.change > 0


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    images = generated_set(120, 16, seed=0)
    return folder, images, run_series(images, [0], folder, BRIEF, device=CPU)


def test_a_series_is_written_and_drawn(series):
    folder, _, _ = series
    assert {path.name for path in folder.iterdir()} == {
        "images.json", "images-plain-0.json", "images-decomposed-0.json", "images-plain.png",
        "images-decomposed.png", "images-traversal.png",
    }  # fmt: skip
    document = json.loads((folder / "images.json").read_text())
    assert [run["loss"] for run in document["runs"]] == ["plain", "decomposed"]
    assert np.shape(document["runs"][0]["factor_correlations"]) == (3, 5)


def test_a_finished_run_is_not_run_again(series):
    folder, images, results = series
    told = []
    again = run_series(
        images, [0], folder, BRIEF, device=CPU, progress=lambda *what: told.append(what)
    )
    assert not told
    assert [r.run.latents for r in again] == [r.run.latents for r in results]


def test_the_same_seed_gives_the_same_figures(series):
    _, images, results = series
    again, other = (run_images(images, BRIEF, "plain", seed, device=CPU) for seed in (0, 1))
    assert again.latents == results[0].run.latents
    assert other.latents != again.latents


def test_targets_tell_good_from_bad(series):
    plain, decomposed = (result.run for result in series[2])
    picture = np.zeros((9, 4), dtype=np.uint8)
    rows = [Traversal("large", 1, 9.0, 0.2, picture), Traversal("small", 3, 1.0, 0.01, picture)]
    good = replace(decomposed, norm_mean=0.95, traversals=rows)
    assert [target.met for target in targets(good)] == [True, True]
    assert not next(iter(targets(replace(good, norm_mean=1.05)))).met
    still = replace(good, traversals=[replace(rows[0], change=0.03), rows[1]])
    assert [target.met for target in targets(still)] == [True, False]
    assert [t.met for t in targets(replace(plain, norm_mean=1.8))] == [True]
    assert [t.met for t in targets(replace(plain, norm_mean=1.1))] == [False]


def photographs(folder, count, mode="RGB"):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.new(mode, (30, 20), i).save(folder / f"{i:03}.{'png' if i % 2 else 'JPG'}", "PNG")


def test_a_folder_is_read_centre_square_channel_by_channel(tmp_path):
    photographs(tmp_path / "deep", 100)
    striped = np.zeros((20, 40, 3), dtype=np.uint8)
    striped[:, 10:30] = (255, 128, 0)  # the centre square
    Image.fromarray(striped).save(tmp_path / "a.png")
    images = folder_set(tmp_path, size=16, grey=False, most=1000, seed=0)
    assert (images.x.shape, images.left_out) == ((101, 3 * 256), 0)
    first = images.x[0].reshape(3, 256)
    assert (first == np.array([[255], [128], [0]])).all()
    grey = folder_set(tmp_path, size=16, grey=True, most=1000, seed=0)
    assert (grey.x.shape, grey.channels) == ((101, 256), 1)


def test_damaged_files_are_left_out_and_counted(tmp_path):
    photographs(tmp_path, 105)
    whole = (tmp_path / "001.png").read_bytes()
    (tmp_path / "003.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "005.png").write_bytes(b"no image")
    (tmp_path / "007.png").write_bytes(b"")
    told = []
    images = folder_set(
        tmp_path, size=16, grey=True, most=1000, seed=0, tell=lambda *what: told.append(what)
    )
    assert (len(images.x), images.left_out) == (102, 3)
    assert told == [(100, 105), (105, 105)]


def test_of_many_files_a_choice_is_taken(tmp_path):
    photographs(tmp_path, 120)
    first, again, other = (
        folder_set(tmp_path, size=8, grey=True, most=100, seed=seed) for seed in (0, 0, 1)
    )
    assert len(first.x) == 100
    assert first.digest() == again.digest()
    assert len(other.x) == 100


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_with_too_few_images_is_refused(tmp_path, there):
    folder = tmp_path if there else tmp_path / "nowhere"
    with pytest.raises(ConfigError, match="at least 100" if there else "not a folder"):
        folder_set(folder, size=16, grey=True, most=1000, seed=0)


def test_squared_error_has_a_beta_of_its_own():
    ssim, squared = (usual_config(name, photographs=True) for name in ("ssim", "squared-error"))
    assert ssim.beta > squared.beta
    assert ssim.first_beta / ssim.beta == pytest.approx(squared.first_beta / squared.beta)


def test_the_command_says_what_it_missed(tmp_path, capsys):
    brief = ["reproduce", "images", "--images", "100", "--max-steps", "1", "-o", str(tmp_path)]
    assert main(brief) == 1
    told = capsys.readouterr().out
    assert "100 images of 1 x 32 x 32" in told
    assert "missed" in told
    assert "images-traversal.png" in told
    assert json.loads((tmp_path / "images.json").read_text())["met"] is False


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("--beta", "0", "--beta"),
        ("--device", "tpu", "--device"),
        ("--folder", "no", "not a folder"),
    ],
)
def test_the_command_refuses_what_cannot_be(tmp_path, capsys, option, value, complaint):
    assert main(["reproduce", "images", option, value, "-o", str(tmp_path)]) == 2
    assert complaint in capsys.readouterr().err
