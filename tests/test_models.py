"""Published models, the examples from 14 on: value and gradients against numbers from other tools.

Each number was computed once, by the tool that the comment above it names (JAX 0.10 with x64, mpmath 1.4, NumPy 2.4), from the
model's own source: nothing of gradlang took part. The data are those of the examples, the point is that of their defaults.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import gradlang as gl

FOLDER = Path(__file__).parent.parent / "examples"


class Reference(NamedTuple):
    name: str
    output: str
    value: float
    gradients: dict[str, float | list]


# fmt: off
REFERENCES = [
    # mpmath, 60 digits: the normal equations of the raw columns
    Reference("14_linear_regression", "forecast", 72208.38576258479, {"y": [0.27074558165243845, 0.09946809678184526,
        -0.06693809349923147, -0.24021063216181787, -0.6647006355120986, -0.22480166681395763, 0.5930224245127941,
        0.1546500496490157, -0.199564922945979, 0.16722965198259376, 0.3277429962727146, -0.1501632759782785,
        -0.3783644581975451, 0.2003556580668758, 0.37420389239951685, 0.7373253337911136]}),
    # mpmath, 40 digits: sum(d - p), sum((d - p)*temperature)
    Reference("15_logistic_regression", "loglik", -10.175751371281947, {"w": [-0.3466473490821428, -23.789815439792687]}),
    # JAX, jax.scipy.stats.poisson.logpmf
    Reference("16_poisson_regression", "loglik", -23.381359275789258, {"intercept": 0.36705983256990127, "outcome":
        [0.010685190412679457, 0.07210434743548344], "treatment": [0.12235327752330072, 0.12235327752329983]}),
    # JAX, jax.scipy.stats
    Reference("17_eight_schools", "log_posterior", -41.51421661804342, {"mu": 0.01919793641805012, "log_tau":
        0.8342931219260625, "theta_tr": [0.003070284956913749, 0.21717499036150573, -0.29388996592613453,
        0.010822983366024962, 0.24429023296867788, 0.18423213961521204, -0.24558350173988974, -0.08371015507074761]}),
    # JAX, jax.scipy.stats.multivariate_normal.logpdf
    Reference("18_gaussian_process", "loglik", -7.808590218638333, {"length": 9.851080257508208, "sigma_f":
        -3.8975837964383433, "sigma_n": -7.120847344015357}),
    # JAX, lax.scan and jax.scipy.stats.norm.logpdf
    Reference("19_garch", "loglik", -1107.3453188763651, {"mu": -3.5975966995263633, "omega": 1216.6086632109552, "alpha":
        162.88930985869112, "beta": 208.51288371107643}),
    # mpmath, 40 digits: a loop, and mpmath.diff of it
    Reference("20_kalman_filter", "loglik", -641.5861019246679, {"s2_eps": 8.577379971973583e-06, "s2_eta":
        -6.084535039874894e-06}),
    # mpmath, 40 digits: closed forms
    Reference("21_black_scholes", "call", 4.759422392871533, {"S": 0.779131290942669, "K": -0.6991022956680141, "r":
        13.982045913360281, "sigma": 8.813415059602852, "T": 4.559092194592627}),
    # JAX
    Reference("22_extended_rosenbrock", "f", 72.6, {"x": [-215.59999999999997, -87.99999999999999, -215.59999999999997,
        -87.99999999999999, -215.59999999999997, -87.99999999999999]}),
    # JAX, Q built by scattering
    Reference("23_gaussian_mixture", "objective", -4.468558210815157, {"alpha": [0.18849877553614824, -0.18849877553614802],
        "mu": [[1.816109836412172, -0.1566240675440084, -1.54808008223246], [0.39887260220263604, -0.281938073780793,
        0.34969254066729244]], "q": [[1.8447368789399845, 2.715663055564023, 1.645543547116191], [1.305683788187398,
        2.685563231626589, 1.4791113608857276]], "l": [[-0.4952736088531434, 0.06505888066976906, 2.1035161516220477],
        [0.6408342671537612, 0.49616812028562496, -0.5745732781697828]]}),
    # JAX, rotation matrices by Rodrigues' formula
    Reference("24_bundle_adjustment", "objective", 7.7880270365242446, {"cams": [[-200.48136193300752, 215.8192772388357,
        -96.2324795616074, -68.92032909968295, -36.82372352879233, 43.58191550989947, 0.6853729667658206, 0.9086135011958631,
        0.7653122270601505, 4.885949224848618, 0.16737307252935768], [-655.6716839547174, -727.4815305326224,
        -457.93167442795516, 189.21552058171844, -215.61898609400478, 53.01835368168148, 1.116577548518763,
        -2.425263379737379, 2.318437799477323, 91.07078350713934, 35.52506402321531]], "X": [[137.84140348984968,
        -192.35810117679347, -29.05146833656999], [-195.86180063574795, 411.5950636798147, -67.97673532777799],
        [-62.27479433613721, 33.20574711977587, 0.42793447276702024]], "w": [3.2874770261724935, 3.80916501020342,
        0.06275253624454002, 6.1819058181651165, -0.6430998446919126]}),
    # JAX, lax.scan
    Reference("25_lstm", "loss", 0.16046140460729727, {"W": [[0.0047606469163357845, -0.0022693523949449054],
        [0.011928421120191254, 0.008203206684617955], [0.008500130405952998, 0.012725255115003012], [-0.00046138046730956046,
        0.0011477371162049008], [-0.00234461330715972, -0.005681498916247356], [-0.008238809187894679,
        -0.0026852431639409974], [-0.024544614314278193, -0.00265969868603359], [0.03858893612191147, -0.01275700204464298],
        [-0.022651256719384113, 0.006309844726079381], [0.00385181427746648, 6.910273806618624e-05], [0.007584029959826348,
        -0.0024208425468176197], [-0.0023441617243335905, 0.002717815921637463]], "U": [[0.00012487724222008426,
        -0.0007770261870444056, 0.0011067576721282273], [-0.00020028996075868464, -0.002480488871227339,
        0.004361604867246918], [8.999831499000108e-05, -0.0022207493336617655, 0.001809176925050829], [-0.0006396927939048576,
        -0.000582418379368531, 0.0001326322713972295], [0.0003691678334102941, 0.0008838176094320682, -0.0008843997282651269],
        [0.00021302078374929248, 0.0013862242651776087, -0.0026578080958127148], [-0.0049989529690126575,
        -0.009332228453212176, -0.005553395656997458], [0.002520982816273039, 0.0008593927466383942, 0.013764797066116524],
        [-0.006087981060104217, -0.01140499000956187, -0.006913581917250788], [-0.00012171589398498127,
        -0.0005264841612508106, 0.0012998434904366724], [-0.00022375736084989065, -0.000551999437377261,
        0.0031635967068327914], [-0.00011647644242718037, -0.00040753083348017997, -0.0009462838545010825]], "b":
        [0.0041108826734962065, 0.008385591894723331, 0.0015624298947884733, -0.005052036772382734, 0.0011832596577726299,
        -0.007102031554129108, -0.10934849214305438, 0.08432977992687715, -0.1233032643805092, 0.00412425067789579,
        0.01204005448774014, -0.007465353695434341]}),
    # JAX, nn.softmax
    Reference("26_attention", "energy", 4.153438143171766, {"Q": [[0.0, 0.0, 0.0], [0.3338988117845872, -0.3338988117845873,
        0.07419973595213043], [-0.005450433125158208, -0.049390452684864014, 0.11700136871823497], [0.0669443644913639,
        -0.2360564785158618, 0.23654201914000794]], "K": [[0.19334965583284758, -0.12977138790547182, 0.19785006629361981],
        [-0.19472077854985054, 0.25884325802852265, -0.19902519939761976], [-0.06338066851742452, -0.1753231495762131,
        0.019675644885264784], [0.06475179123442733, 0.046251279453162375, -0.01850051178126495]], "V": [[1.2919117882389408,
        3.278877473577271], [0.1580295745981542, 0.9334676857943642], [0.11487872229026955, 0.4013734774274995],
        [0.07962341400403736, 0.1153442289268657]]}),
    # JAX, lax.scan over the accelerations solved for by hand
    Reference("28_double_pendulum", "angle", -0.845295688797134, {"m": [-0.06548300864910092, 0.08185376081137626], "len":
        [1.157222994390103, 1.2805445252591816], "start": [0.6717836956121357, -0.22320616379566746]}),
    # NumPy, a double loop over the pairs
    Reference("29_lennard_jones", "energy", -40.91071532287449, {"r": [[-3.988277911632025, 13.63656994749903,
        19.53216660415096], [-2.119563594013559, -5.864329150287342, -8.53678446141494], [-1.4467705660318402,
        6.302868350733849, -0.951584770002577], [2.2863562773807478, -4.809051739575567, -0.3088364206390589],
        [0.6001241225963534, -3.7814172541667443, -6.670106133239717], [3.014577270335933, 4.027422196763646,
        -2.021576518178747], [1.4832048286659447, -5.155217346455372, 4.499366204997297], [0.6798574745383658,
        1.984191489444386, -3.7017141466314882], [-4.960810424368694, -7.250028683921083, 0.9148765026940094],
        [7.210581366033192, 0.3115533470080091, 2.6840528921012528], [4.031978233906298, 0.15045022770902203,
        -1.8120031818589837], [1.2803150946751174, 1.2551651098963958, 0.7655807840741577], [-8.071572172085833,
        -0.808176494648228, -4.393437356052161]]}),
    # mpmath, 30 digits: findroot, and p' = x/(3x^2 - p), c' = 1/(3x^2 - p)
    Reference("30_newton", "root", 2.0945514815423265, {"p": 0.18765964859263357, "c": 0.08959419247811949}),
    # mpmath, 30 digits: findroot, and dE/de = sin E/(1 - e cos E), dE/dM = 1/(1 - e cos E)
    Reference("31_kepler", "E_degrees", 5.554589253872315, {"e": 6.158889542254761, "anomaly": 1.1105317132006205}),
]
CONV_LOSS = 2.3155956274496194
CONV_NORMS = {"w1": 0.343047571527165, "b1": 0.04355293224824604, "w2": 0.2448696709582275, "b2": 0.05628954565082991, "w3":
    0.32057724704845153, "b3": 0.04564558637455886}
CONV_B2 = [-0.0007383792099802039, 0.007122060673722919, -0.0021660457913820607, 0.02461667812000143, 0.022600612887213864,
    0.010077466505591857, 0.0073478010299152605, -0.0026013253627988897, -0.005800415614730959, -0.010289693670968126,
    -0.026943892795857634, 0.00367831697467107, 0.00977591066264219, 0.020886321715135398, 0.020113488528021774,
    0.004252765809643704]
# fmt: on


def data(name: str) -> dict[str, np.ndarray]:
    """The file that the example's `# args:` names."""
    first = (FOLDER / f"{name}.grad").read_text(encoding="utf-8").splitlines()[0].split()
    if "--data" not in first:
        return {}
    with np.load(FOLDER / first[first.index("--data") + 1]) as file:
        return dict(file)


def near(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal to 1e-10 of each entry, or to 1e-13 of the largest where terms cancel."""
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13 * np.max(np.abs(expected)))


@pytest.mark.parametrize("reference", REFERENCES, ids=[r.name for r in REFERENCES])
def test_model(reference: Reference) -> None:
    model = gl.load(FOLDER / f"{reference.name}.grad")
    value, gradients = model.value_and_grad(reference.output, wrt=list(reference.gradients))(data(reference.name))
    assert value == pytest.approx(reference.value, rel=1e-12)
    for name, expected in reference.gradients.items():
        near(np.asarray(gradients[name]), np.asarray(expected))


def wave(shape: tuple[int, ...], scale: float, pace: float) -> np.ndarray:
    """Numbers that look random and are the same everywhere."""
    return scale * np.sin(pace * np.arange(1, 1 + int(np.prod(shape)))).reshape(shape)


def test_conv_net() -> None:
    weights = {
        "w1": wave((6, 1, 5, 5), 0.3, 0.7),
        "b1": wave((6,), 0.1, 1.3),
        "w2": wave((16, 6, 5, 5), 0.15, 1.1),
        "b2": wave((16,), 0.1, 0.9),
        "w3": wave((256, 10), 0.08, 0.3),
        "b3": wave((10,), 0.1, 2.1),
    }
    model = gl.load(FOLDER / "27_conv_net.grad")
    loss, gradients = model.value_and_grad("loss", wrt=list(weights))({**data("27_conv_net"), **weights})
    assert loss == pytest.approx(CONV_LOSS, rel=1e-12)
    for name, expected in CONV_NORMS.items():
        assert np.linalg.norm(gradients[name].ravel()) == pytest.approx(expected, rel=1e-10)
    near(gradients["b2"], np.array(CONV_B2))


def test_hessian_of_rosenbrock_has_exact_zeros_off_its_blocks() -> None:
    model = gl.load(FOLDER / "22_extended_rosenbrock.grad")
    blocks = np.kron(np.eye(3), [[1330.0, 480.0], [480.0, 200.0]])
    np.testing.assert_allclose(model.hessian("f", wrt="x")(), blocks, rtol=1e-14)


def test_newton_and_the_implicit_definition_agree_to_the_second_order() -> None:
    """The steps of Newton's method, differentiated twice, against the theorem on implicit functions, applied twice."""
    model = gl.load(FOLDER / "30_newton.grad")
    x, p = 2.0945514815423265, 2.0
    by_hand = -6 * x / (3 * x**2 - p) ** 3  # d2x/dc2 where f(x) = c
    for output in ("root", "implicit"):
        assert float(model.hessian(output, wrt="c")()) == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize(("e", "degrees"), [(0.1, 5.0), (0.99, 2.0), (0.5, 150.0), (0.0, 40.0)])
def test_kepler_wherever_the_planet_is(e: float, degrees: float) -> None:
    """The residual vanishes, and the derivatives follow from the anomaly that was found."""
    model = gl.load(FOLDER / "31_kepler.grad")
    found, gradients = model.value_and_grad("E_degrees", wrt=["e", "anomaly"])(e=e, anomaly=degrees)
    anomaly = np.deg2rad(found)
    assert anomaly - e * np.sin(anomaly) == pytest.approx(np.deg2rad(degrees), rel=1e-14)
    assert gradients["anomaly"] == pytest.approx(1 / (1 - e * np.cos(anomaly)), rel=1e-12)
    assert gradients["e"] == pytest.approx(np.rad2deg(np.sin(anomaly) / (1 - e * np.cos(anomaly))), rel=1e-12)
