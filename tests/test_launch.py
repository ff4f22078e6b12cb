"""The files in launch/ are well-formed, and what they run are commands that there are."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

LAUNCH = Path(__file__).parents[1] / "launch"


SCRIPTS = {
    "slurm.sbatch": lambda text: text,
    "kuberay.yaml": lambda text: yaml.safe_load(text)["spec"]["entrypoint"],
    "skypilot.yaml": lambda text: yaml.safe_load(text)["run"],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_parse_and_run_over_ray(name):
    script = SCRIPTS[name]((LAUNCH / name).read_text())

    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert re.search(r"srit run .*--on ray", script)


@pytest.mark.parametrize("path", sorted(LAUNCH.iterdir()), ids=lambda path: path.name)
def test_usage_statistics_are_off(path):
    assert re.search(r'RAY_USAGE_STATS_ENABLED(=0|: "0"|, value: "0")', path.read_text())


@pytest.mark.slow
def test_skypilot_reads_its_file():
    sky = pytest.importorskip("sky")
    task = sky.Task.from_yaml(str(LAUNCH / "skypilot.yaml"))

    assert task.num_nodes == 2 and {str(one.accelerators) for one in task.resources} == {"{'H100': 8}"}


@pytest.mark.slow
def test_ray_takes_the_options_of_the_slurm_file():
    pytest.importorskip("ray")
    from ray.scripts.symmetric_run import curate_and_validate_ray_start_args

    options = ["--address", "head:6379", "--min-nodes", "2", "--num-cpus", "32", "--num-gpus", "8"]
    written = re.search(r"symmetric-run (.*?) \\\n(.*?) \\\n", (LAUNCH / "slurm.sbatch").read_text())
    assert re.findall(r"--[\w-]+", written[1] + written[2]) == options[::2]
    assert curate_and_validate_ray_start_args([*options]) == options[4:]  # click takes what it reads from the list


# https://ray-project.github.io/kuberay/reference/api/, as of KubeRay 1.4
RAY_JOB = {
    "spec": "entrypoint submissionMode backoffLimit shutdownAfterJobFinishes runtimeEnvYAML rayClusterSpec",
    "rayClusterSpec": "rayVersion headGroupSpec workerGroupSpecs",
    "headGroupSpec": "rayStartParams template",
    "workerGroupSpecs": "groupName replicas minReplicas maxReplicas rayStartParams template",
}


def test_kuberay_has_the_fields_of_its_file():
    job = yaml.safe_load((LAUNCH / "kuberay.yaml").read_text())
    cluster = job["spec"]["rayClusterSpec"]
    groups = {"headGroupSpec": cluster["headGroupSpec"], "workerGroupSpecs": cluster["workerGroupSpecs"][0]}

    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    for name, section in {"spec": job["spec"], "rayClusterSpec": cluster, **groups}.items():
        assert set(section) <= set(RAY_JOB[name].split())


@pytest.mark.slow
def test_kubernetes_takes_the_pods_of_kuberays_file():
    kubernetes = pytest.importorskip("kubernetes_validate")
    cluster = yaml.safe_load((LAUNCH / "kuberay.yaml").read_text())["spec"]["rayClusterSpec"]

    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "srit"}, **group["template"]}
        kubernetes.validate(pod, kubernetes.latest_version(), strict=True)
