"""How fast training, evaluation and start-up are, beside other libraries.

    python -m benchmarks.speed --quick
    python -m benchmarks.speed --workloads=mlp,conv --repeats=7 --output=speed

Every contender does the same work from the same data in a process of its own, with its
library's own number of threads, while all others wait; see `contest`. It reports its
loss, so that none is fast by doing less. The other libraries are those of the extra
`benchmark`; what is not installed is shown as missing. `--output=speed` writes
speed.md and speed.json. Nothing else should run meanwhile.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import tempfile

from benchmarks import contest
from benchmarks import speed_data
from benchmarks.contest import Contender

LIBRARIES = (
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "tensorflow-probability",
    "tf_keras",
    "torch",
    "jax",
    "pythae",
    "numpy",
)
# How many times as fast as this one the library is meant to be, at least.
TARGETS = {
    ("mlp", "TF/XLA, epoch by hand"): 0.95,
    ("mlp", "JAX, scan"): 0.95,
    ("mlp", "torch.compile, fused Adam"): 1.7,
    ("mlp", "Keras example"): 3.3,
    ("mlp", "Pythae"): 3.5,
    ("mlp", "matrix products alone"): 0.45,
    ("ladder", "TF/XLA, epoch by hand"): 0.85,
    ("conv", "Pythae"): 1.4,
    ("conv", "torch, fused Adam"): 1.0,
    ("lstm", "torch, fused Adam"): 1.35,
    ("text", "torch, fused Adam"): 1.0,
    ("log_likelihood", "Pythae"): 2.0,
}


def main(arguments=None):
    flags = _parser().parse_args(arguments)
    report = [_machine()]
    results = {"machine": report[0], "workloads": {}}
    with tempfile.TemporaryDirectory() as directory:
        for name in flags.workloads:
            workload = WORKLOADS[name](flags, pathlib.Path(directory))
            print(f"\n== {workload.title}")
            repeats = flags.repeats or (2 if flags.quick else 5)
            if name == "start":
                # A round of these costs as much as many of the others.
                repeats = 1 if flags.quick else repeats
                contest.start(workload.contenders, repeats, verbose=flags.verbose)
            else:
                contest.run(workload.contenders, repeats, verbose=flags.verbose)
            report.append(workload.table())
            results["workloads"][name] = [vars(c) for c in workload.contenders]
            print("\n" + report[-1])
            _write(flags.output, report, results)


# === Workloads ===


class Workload:
    """Contenders in one kind of work, the first of which is ours.

    Args:
        name: String, prefix in `TARGETS`.
        title: String, heading of the table.
        unit: String, what is counted per second.
        contenders: List of `Contender`.
    """

    def __init__(self, name, title, unit, contenders):
        self.name = name
        self.title = title
        self.unit = unit
        self.contenders = contenders

    def table(self):
        rows = [
            (
                "contender",
                f"{self.unit}/s",
                "ours / it",
                "target",
                "last loss",
                "peak MiB",
                "import s",
                "first epoch s",
            )
        ]
        rows += [self._row(contender) for contender in self.contenders]
        return f"### {self.title}\n\n{_markdown(rows)}\n"

    def _row(self, contender):
        if not contender.seconds:
            return (contender.name, contender.problem or "", *[""] * 6)
        ours = self.contenders[0]
        ratio = ""
        if contender is not ours and len(contender.seconds) == len(ours.seconds):
            ratio = contest.spread(contest.ratios(ours, contender))
        return (
            contender.name,
            contest.spread(contender.rates, 0),
            ratio,
            TARGETS.get((self.name, contender.name), ""),
            _number(contender.values[-1], 2),
            _number(contender.peak_mib, 0),
            _number(contender.import_seconds, 2),
            _number(contender.first_seconds, 2),
        )


class Seconds(Workload):
    """The same for work that is compared by the seconds that it takes."""

    def table(self):
        rows = [("contender", "seconds", "of the first")]
        first = self.contenders[0].seconds
        for contender in self.contenders:
            shown = (contender.problem or "", "")
            if contender.seconds:
                pairs = zip(contender.seconds, first, strict=False)
                share = [seconds / least for seconds, least in pairs]
                shown = contest.spread(contender.seconds), contest.spread(share)
            rows.append((contender.name, *shown))
        return f"### {self.title}\n\n{_markdown(rows)}\n"


def mlp(flags, directory):
    """Dense networks 784-200-200-50 on binary images, batches of 100."""
    x = speed_data.binary_images(10_000 if flags.quick else 60_000, flags.data_dir)
    contenders = [
        ("keras_vae", "ours", "mlp"),
        ("Keras fit, same layers", "ours", "mlp_stock"),
        ("Keras example", "keras_example", "mlp"),
        ("TFP layers", "tfp_layers", "mlp"),
        ("Pythae", "pythae_trainer", "mlp"),
        ("torch, fused Adam", "pytorch", "mlp"),
        ("torch.compile, fused Adam", "pytorch", "mlp", ("compiled", True)),
        ("JAX, jitted step", "jax_loop", "mlp"),
        ("JAX, scan", "jax_loop", "mlp", ("scan", True)),
        ("TF/XLA, epoch by hand", "tensorflow_loop", "mlp"),
        ("matrix products alone", "gemm", "mlp"),
    ]
    title = f"MLP 784-200-200-50, batch 100, {len(x):,} images"
    return _epochs("mlp", title, "images", contenders, x, directory)


def ladder(flags, directory):
    """A Ladder VAE of five dense levels on binary images, batches of 100."""
    x = speed_data.binary_images(10_000 if flags.quick else 60_000, flags.data_dir)
    contenders = [
        ("keras_vae", "ours", "ladder"),
        ("TF/XLA, epoch by hand", "tensorflow_loop", "ladder"),
    ]
    title = f"Ladder, z 64-32-16-8-4, batch 100, {len(x):,} images"
    return _epochs("ladder", title, "images", contenders, x, directory)


def conv(flags, directory):
    """Convolutions on binary images of 64 x 64, batches of 64."""
    x = speed_data.shapes(640 if flags.quick else 3_200, flags.data_dir)
    contenders = [
        ("keras_vae", "ours", "conv"),
        ("Keras fit, same layers", "ours", "conv_stock"),
        ("Pythae", "pythae_trainer", "conv"),
        ("torch, fused Adam", "pytorch", "conv"),
        ("torch.compile, fused Adam", "pytorch", "conv", ("compiled", True)),
    ]
    title = (
        f"Convolutions 32-32-64-64, 256-256, z 10, batch 64, {len(x):,} images 64x64"
    )
    return _epochs("conv", title, "images", contenders, x, directory)


def lstm(flags, directory):
    """LSTMs that encode and, given the words before, decode sentences."""
    x = speed_data.sentences(320 if flags.quick else 1_280)
    contenders = [
        ("keras_vae", "ours", "lstm"),
        ("Keras fit, same layers", "ours", "lstm_stock"),
        ("torch, fused Adam", "pytorch", "lstm"),
    ]
    title = f"LSTM 256, 30 words of 10,000, z 32, batch 32, {len(x):,} sentences"
    return _epochs("lstm", title, "sentences", contenders, x, directory)


def text(flags, directory):
    """`SentenceVAE` on sentences of 5 to 40 words, in batches of like length."""
    x = speed_data.uneven_sentences(320 if flags.quick else 1_280)
    contenders = [
        ("keras_vae", "ours", "text"),
        ("torch, fused Adam", "pytorch", "text"),
    ]
    title = (
        f"Sentence VAE, LSTM 256, z 32, batch 32, {len(x):,} sentences, 5 to 40 words"
    )
    return _epochs("text", title, "sentences", contenders, x, directory)


def _epochs(name, title, unit, contenders, x, directory):
    """Returns the workload of epochs over `x`; options are pairs behind the names."""
    data = {"data": speed_data.save(directory / f"{name}.npy", x)}
    made = [Contender(*c[:3], {**data, **dict(c[3:])}, len(x)) for c in contenders]
    return Workload(name, title, unit, made)


def log_likelihood(flags, directory):
    """Importance-sampled log p(x)."""
    images, draws = (20, 1_000) if flags.quick else (100, 5_000)
    x = speed_data.binary_images(images, flags.data_dir)
    options = {"data": speed_data.save(directory / "ll.npy", x), "num_samples": draws}
    contenders = [
        ("keras_vae", "ours", "log_likelihood"),
        ("Pythae", "pythae_trainer", "log_likelihood"),
    ]
    return Workload(
        "log_likelihood",
        f"-log p(x) of {images} images by {draws:,} draws each",
        "images",
        [Contender(*c, options, images) for c in contenders],
    )


def start(flags, directory):
    """Seconds from a fresh process to the end of the first step."""
    x = speed_data.binary_images(100, flags.data_dir)
    contenders = mlp(flags, directory).contenders[:-1]
    for contender in contenders:
        contender.options["data"] = speed_data.save(directory / "start.npy", x)
    return Seconds("start", "Import and first step", "", contenders)


def scaling(flags, directory):
    """Seconds of our epoch as examples and latents grow by 16."""
    largest = 16_000 if flags.quick else 64_000
    sizes, latents = [largest // 16, largest // 4, largest], [16, 64, 256]
    if flags.quick:
        del sizes[1], latents[1]
    x = speed_data.binary_images(largest, flags.data_dir)
    work = [(size, 50) for size in sizes] + [(largest // 4, z) for z in latents]
    contenders = []
    for size, z in work:
        options = {
            "data": speed_data.save(directory / f"{size}.npy", x[:size]),
            "latents": z,
        }
        name = f"{size:,} images, {z} latents"
        contenders.append(Contender(name, "ours", "mlp", options, size))
    return Seconds("scaling", "Seconds of an epoch as the work grows", "", contenders)


WORKLOADS = {
    "mlp": mlp,
    "ladder": ladder,
    "conv": conv,
    "lstm": lstm,
    "text": text,
    "log_likelihood": log_likelihood,
    "start": start,
    "scaling": scaling,
}


# === Report ===


def _number(value, digits):
    return "" if value is None else f"{value:,.{digits}f}"


def _markdown(rows):
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| "
        + " | ".join(str(c).ljust(w) for c, w in zip(row, widths, strict=True))
        + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def _machine():
    versions = []
    for name in LIBRARIES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{os.cpu_count()} cores ({_processor()}), Python {platform.python_version()}, "
        f"{', '.join(versions)}; load before: {load}"
    )


def _processor():
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()


def _write(output, report, results):
    if output:
        pathlib.Path(f"{output}.md").write_text("\n\n".join(report))
        pathlib.Path(f"{output}.json").write_text(json.dumps(results, indent=1))


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="less work, 5 minutes")
    parser.add_argument(
        "--workloads",
        type=_workloads,
        default=list(WORKLOADS),
        help=f"names with commas between, of {', '.join(WORKLOADS)}",
    )
    parser.add_argument("--repeats", type=int, help="rounds; 5, or 2 with --quick")
    parser.add_argument("--data_dir", help="directory with the real data sets")
    parser.add_argument("--output", help="path of the report without its suffix")
    parser.add_argument("--verbose", action="store_true", help="show what all print")
    return parser


def _workloads(text):
    names = text.split(",")
    unknown = [name for name in names if name not in WORKLOADS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"must be of {', '.join(WORKLOADS)}. Received: {', '.join(unknown)}"
        )
    return names


if __name__ == "__main__":
    main()
