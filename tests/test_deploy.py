"""What the sweep needs on a cluster: an object store, and files that their tools accept."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from sweep.__main__ import main
from sweep.store import lock
from sweep.store.folder import open_folder

pytestmark = pytest.mark.xdist_group("ray")  # one Ray at a time on a machine

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
SMALL = (
    "+grid=smoke",
    "policy=[xpfo,xpfo_deferred]",
    "window_events=64",
    "runner=serial",
    "chunk_s=1e-9",
    "quiet=true",
)


@pytest.fixture
def bucket(monkeypatch):
    """A bucket of a real S3 server on this machine."""
    from moto.server import ThreadedMotoServer
    from pyarrow import fs

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    opened = fs.S3FileSystem(endpoint_override=f"127.0.0.1:{port}", scheme="http", allow_bucket_creation=True)
    opened.create_dir("bucket")
    yield opened
    server.stop()


def test_a_run_on_an_object_store_has_the_same_bytes_continues_and_is_locked(bucket, sweep_in, capsys):
    here = sweep_in(*(word for word in SMALL if word != "quiet=true"))
    there = "out=s3://bucket/run"
    assert main([*SMALL, there]) == 0

    def read(name):
        return bucket.open_input_stream(f"bucket/run/{name}").read()

    assert read("results.parquet") == (here / "results.parquet").read_bytes()
    for name in ("results.parquet", "parts/part-00000001.parquet"):
        bucket.delete_file(f"bucket/run/{name}")
    assert main([word for word in (*SMALL, there) if word != "quiet=true"]) == 0
    assert "1 of 2 chunks are already done" in capsys.readouterr().err
    assert read("results.parquet") == (here / "results.parquet").read_bytes()
    assert main(["status", "s3://bucket/run"]) == 0
    assert "finished" in capsys.readouterr().out
    with lock.Lock(open_folder("s3://bucket/run")):
        assert main([*SMALL, there]) == 2
    assert "another sweep runs there" in capsys.readouterr().err
    assert main([*SMALL, "out=s3://bucket/more", "reuse=s3://bucket/run"]) == 0
    assert bucket.open_input_stream("bucket/more/results.parquet").read() == (here / "results.parquet").read_bytes()


def test_the_cluster_file_satisfies_rays_schema():
    import jsonschema
    import ray

    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(yaml.safe_load((DEPLOY / "ray-cluster.yaml").read_text()), schema)


def test_the_rayjob_has_what_kuberay_needs():
    job = yaml.safe_load((DEPLOY / "kuberay-rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(job["spec"]) <= {
        "entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "rayClusterSpec",
    }  # fmt: skip
    out = re.search(r"out=(\S+)", job["spec"]["entrypoint"])[1]
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        assert all(isinstance(value, str) for value in group["rayStartParams"].values()), "KubeRay wants strings"
        for container in pod["containers"]:
            assert {"name", "image", "resources"} <= set(container)
            mounts = {mount["name"] for mount in container.get("volumeMounts", ())}
            assert mounts == {volume["name"] for volume in pod.get("volumes", ())}
    assert len({container["image"] for group in groups for container in group["template"]["spec"]["containers"]}) == 1
    head = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert out.startswith(head["volumeMounts"][0]["mountPath"] + "/")
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_every_cluster_asks_for_a_token():
    job = yaml.safe_load((DEPLOY / "kuberay-rayjob.yaml").read_text())
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    cluster = yaml.safe_load((DEPLOY / "ray-cluster.yaml").read_text())
    for commands in (cluster["head_start_ray_commands"], cluster["worker_start_ray_commands"]):
        assert all("RAY_AUTH_MODE=token" in command for command in commands if "ray start" in command)
    assert "~/.ray/auth_token" in cluster["file_mounts"]
    assert "export RAY_AUTH_MODE=token" in (DEPLOY / "slurm.sh").read_text()


def test_the_slurm_script_is_bash_and_symmetric_run_knows_its_options():
    script = DEPLOY / "slurm.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    from click.testing import CliRunner
    from ray.scripts.scripts import cli

    known = (
        CliRunner().invoke(cli, ["symmetric-run", "--help"]).output
        + CliRunner().invoke(cli, ["start", "--help"]).output
    )
    command = re.search(r"ray symmetric-run (.*?) -- ", script.read_text().replace("\\\n", " "))[0]
    for option in re.findall(r"--[a-z-]+", command):
        assert option in known, option


@pytest.mark.parametrize("name", ["kuberay-rayjob.yaml", "slurm.sh"])
def test_commands_in_deploy_are_commands_of_ours(name, tmp_path, capsys):
    text = (DEPLOY / name).read_text()
    words = re.search(r"\+grid=large\S*( \S+=\S+)*", text)[0].replace("`.", "").split()
    changed = [word for word in words if not word.startswith(("out=", "runner="))]
    assert main([*changed, "cores=0", f"out={tmp_path}/run"]) == 2  # it gets as far as the value that is wrong
    assert "cores=0" in capsys.readouterr().err
