import os
import re
import shutil
import stat
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree as ET

import clickhouse_connect
import pytest
import yaml
from brokers import POM, SHARED_SETTINGS
from conftest import ROOT, missing

from pipeline.cli import commands
from pipeline.grafana.provisioning import DASHBOARDS_PATH
from pipeline.grafana.targets import PLUGIN, PLUGIN_VERSION
from pipeline.settings import Settings
from pipeline.warehouse.inserting import INSERT_SETTINGS
from pipeline.warehouse.users import Passwords

COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "Dockerfile"
WRITE_SECRETS = ROOT / "infra" / "compose" / "write_secrets.py"
PASSWORD = "LIQUIDATIONS_CLICKHOUSE_PASSWORD"  # noqa: S105 - the name of a variable
LONG_RUNNING = {"kafka", "clickhouse", "ingest", "worker", "sink", "grafana"}
ONE_SHOT = {"topics", "users", "migrate"}
# What differs between the tests' broker and that of compose: where it listens, who votes, where the data lie.
OF_THE_PLACE = {"listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"}


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load(COMPOSE.read_text())["services"]


@pytest.fixture(scope="module")
def parser():
    """The command of a real parser of compose files."""
    for words in (["docker", "compose"], ["docker-compose"]):
        found = shutil.which(words[0])
        if found and not subprocess.run([found, *words[1:], "version"], capture_output=True, check=False).returncode:
            return [found, *words[1:]]
    return missing("neither docker compose nor docker-compose is installed")


@pytest.fixture(scope="module")
def secrets_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("secrets") / ".env"
    subprocess.run([sys.executable, WRITE_SECRETS, path], check=True, capture_output=True)
    return path


def parse(parser, env_file):
    command = [*parser, "--file", COMPOSE, "--env-file", env_file, "config"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LIQUIDATIONS_")}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_a_real_parser_takes_the_file(parser, secrets_file):
    parsed = parse(parser, secrets_file)
    assert parsed.returncode == 0, parsed.stderr
    config = yaml.safe_load(parsed.stdout)
    assert set(config["services"]) == LONG_RUNNING | ONE_SHOT
    assert set(config["volumes"]) == {"kafka-data", "clickhouse-data", "spool", "grafana-data"}
    passwords = dict(line.split("=", 1) for line in secrets_file.read_text().splitlines())
    sink = config["services"]["sink"]["environment"]
    assert sink["LIQUIDATIONS_CLICKHOUSE_PASSWORD"] == passwords["LIQUIDATIONS_WRITE_PASSWORD"]


@pytest.mark.parametrize("lost", ["ADMIN", "MIGRATE", "WRITE", "READ", "GRAFANA", "GRAFANA_ADMIN"])
def test_no_password_has_a_default(parser, secrets_file, tmp_path, lost):
    lines = secrets_file.read_text().splitlines(keepends=True)
    rest = [line for line in lines if not line.startswith(f"LIQUIDATIONS_{lost}_PASSWORD=")]
    env_file = tmp_path / "env"
    env_file.write_text("".join(rest))
    parsed = parse(parser, env_file)
    assert parsed.returncode != 0
    assert "run make secrets" in parsed.stderr


def test_every_password_comes_from_the_secrets_file(services, secrets_file):
    wanted = set(re.findall(r"\$\{(\w+):\?run make secrets\}", COMPOSE.read_text()))
    assert wanted == {line.partition("=")[0] for line in secrets_file.read_text().splitlines()}
    for service in services.values():
        for name, value in service["environment"].items():
            assert "PASSWORD" not in name or re.fullmatch(r"\$\{LIQUIDATIONS_\w+:\?run make secrets\}", value)


def test_secrets_are_written_once_for_the_owner_only(tmp_path):
    path = tmp_path / ".env"
    write = [sys.executable, WRITE_SECRETS, path]
    first = subprocess.run(write, capture_output=True, text=True, check=True, umask=0)
    text = path.read_text()
    passwords = [line.partition("=")[2] for line in text.splitlines()]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(set(passwords)) == 6
    # ClickHouse's image writes one into XML; compose would interpolate a dollar sign.
    assert all(re.fullmatch(r"[\w-]{32}", password) for password in passwords)
    assert not any(password in first.stdout + first.stderr for password in passwords)
    second = subprocess.run(write, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert "stays as it is" in second.stderr
    assert path.read_text() == text


def test_ports_are_open_on_loopback_only(services):
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert sorted(ports) == ["127.0.0.1:3000:3000", "127.0.0.1:8123:8123", "127.0.0.1:9092:9092"]
    assert not any("network_mode" in service for service in services.values())


def test_every_service_is_bounded_and_without_privileges(services):
    for name, service in services.items():
        assert re.fullmatch(r"\d+[mg]", service["mem_limit"]), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["logging"]["options"]["max-size"], name
        assert "privileged" not in service, name


def test_long_running_services_restart_and_say_whether_they_are_well(services):
    for name in LONG_RUNNING:
        assert services[name]["restart"] == "unless-stopped"
        assert services[name]["healthcheck"]["test"][0] == "CMD"
        assert "retries" in services[name]["healthcheck"]
    for name in ONE_SHOT:
        assert services[name]["restart"] == "on-failure:3"
        assert "healthcheck" not in services[name]


def test_services_start_in_order(services):
    order = {
        name: {other: wait["condition"] for other, wait in service.get("depends_on", {}).items()}
        for name, service in services.items()
    }
    assert order == {
        "kafka": {},
        "clickhouse": {},
        "topics": {"kafka": "service_healthy"},
        "users": {"clickhouse": "service_healthy"},
        "migrate": {"users": "service_completed_successfully"},
        "ingest": {"topics": "service_completed_successfully"},
        "worker": {"topics": "service_completed_successfully"},
        "sink": {"topics": "service_completed_successfully", "migrate": "service_completed_successfully"},
        "grafana": {"migrate": "service_completed_successfully"},
    }


def test_our_services_run_our_commands_with_known_settings(services):
    known = {f"LIQUIDATIONS_{name.upper()}" for name in Settings.model_fields}
    passwords = {f"LIQUIDATIONS_{user}_PASSWORD" for user in ("MIGRATE", "WRITE", "READ", "GRAFANA")}
    for name in ONE_SHOT | {"ingest", "worker", "sink"}:
        service = services[name]
        assert service["command"] == [name]
        assert name in commands.commands
        assert set(service["environment"]) <= known | (passwords if name == "users" else set())
        assert service["environment"]["LIQUIDATIONS_LOG_FORMAT"] == "json"
        assert service["read_only"]
        assert service.get("volumes", []) == (["spool:/var/lib/liquidations"] if name == "ingest" else [])
    partitions = {
        services[name]["environment"]["LIQUIDATIONS_PARTITIONS"] for name in ("topics", "ingest", "worker", "sink")
    }
    assert len(partitions) == 1


def test_services_log_in_as_the_users_that_there_are(services):
    made = set(re.findall(r"CREATE USER IF NOT EXISTS (\w+)", (ROOT / "infra/clickhouse/users.sql").read_text()))
    logins = {
        name: (service["environment"]["LIQUIDATIONS_CLICKHOUSE_USER"], service["environment"][PASSWORD])
        for name, service in services.items()
        if PASSWORD in service["environment"]
    }
    assert {user for user, _ in logins.values()} <= made | {services["clickhouse"]["environment"]["CLICKHOUSE_USER"]}
    for user, password in logins.values():
        assert password == f"${{LIQUIDATIONS_{user.rpartition('_')[2].upper()}_PASSWORD:?run make secrets}}"
    assert set(logins) == {"users", "migrate", "sink"}
    names = {name for name in services["users"]["environment"] if name.endswith("_PASSWORD") and name != PASSWORD}
    Passwords.from_environment(dict.fromkeys(names, "long enough for it"))


def test_workers_can_be_multiplied(services):
    assert not {"container_name", "hostname", "ports"} & set(services["worker"])


def test_there_is_one_ingest_whose_spool_outlives_it(services):
    ingest = services["ingest"]
    # A name of its own keeps compose from starting a second one, which would contradict the first.
    assert ingest["container_name"]
    spool = Path(ingest["environment"]["LIQUIDATIONS_SPOOL_DIR"])
    volume = ingest["volumes"][0].partition(":")[2]
    assert spool.is_relative_to(volume)
    # The volume belongs to the user that writes into it.
    assert re.search(
        rf"install --directory --owner=10001 --group=10001 {volume}$", DOCKERFILE.read_text(), re.MULTILINE
    )


def test_grafana_reads_our_files_and_keeps_strangers_out(services):
    grafana = services["grafana"]
    environment = grafana["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert environment["GF_PLUGINS_PREINSTALL_SYNC"] == f"{PLUGIN}@{PLUGIN_VERSION}"
    mounted = {tuple(volume.split(":")) for volume in grafana["volumes"][1:]}
    assert {kind for _, _, kind in mounted} == {"ro"}
    places = {inside: ROOT / outside for outside, inside, _ in mounted}
    assert (places[DASHBOARDS_PATH] / Path(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]).name).is_file()
    provisioned = "".join(path.read_text() for path in places["/etc/grafana/provisioning"].rglob("*.yaml"))
    assert DASHBOARDS_PATH in provisioned
    # What the files take from the environment is there.
    used = set(re.findall(r"\$(LIQUIDATIONS_\w+)", provisioned))
    assert used == {"LIQUIDATIONS_CLICKHOUSE_HOST", "LIQUIDATIONS_GRAFANA_PASSWORD"}
    examples = (ROOT / "infra" / "grafana" / "examples" / "contacts.toml").read_text()
    assert used | set(re.findall(r"\$(LIQUIDATIONS_\w+)", examples)) <= set(environment)


def test_data_lie_in_named_volumes(services):
    assert "kafka-data:/var/lib/kafka/data" in services["kafka"]["volumes"]
    assert services["kafka"]["environment"]["KAFKA_LOG_DIRS"] == "/var/lib/kafka/data"
    assert "clickhouse-data:/var/lib/clickhouse" in services["clickhouse"]["volumes"]


def test_files_that_are_mounted_exist(services):
    mounts = [mount.split(":") for service in services.values() for mount in service.get("volumes", [])]
    files = [mount for mount in mounts if mount[0].startswith(".")]
    assert len(files) == 6
    for source, target, mode in files:
        assert (ROOT / source).exists()
        assert Path(source).name == Path(target).name
        assert mode == "ro"


def test_kafka_is_that_of_the_tests(services):
    kafka = services["kafka"]
    namespace = {"m": "http://maven.apache.org/POM/4.0.0"}
    dependencies = ET.parse(POM).iterfind(".//m:dependency", namespace)  # noqa: S314 - our own file
    versions = {
        d.findtext("m:artifactId", None, namespace): d.findtext("m:version", None, namespace) for d in dependencies
    }
    assert kafka["image"] == f"apache/kafka:{versions['kafka_2.13']}"
    source = f"./{SHARED_SETTINGS.relative_to(ROOT)}"
    assert f"{source}:/mnt/shared/config/server.properties:ro" in kafka["volumes"]
    # The image turns KAFKA_A_B into a setting a.b and appends it to the mounted file.
    added = {
        name.removeprefix("KAFKA_").lower().replace("_", ".")
        for name in kafka["environment"]
        if name.startswith("KAFKA_") and name != "KAFKA_HEAP_OPTS"
    }
    assert added == OF_THE_PLACE
    assert not OF_THE_PLACE & set(properties(SHARED_SETTINGS.read_text()))


def test_clickhouse_is_of_the_version_of_the_tests(services):
    release = ".".join(version("chdb-core").split(".")[:2])
    assert services["clickhouse"]["image"] == f"clickhouse/clickhouse-server:{release}"


def test_clickhouse_inserts_as_the_sink_does():
    profile = ET.parse(ROOT / "infra/clickhouse/users.d/profile.xml").find("profiles/default")  # noqa: S314
    assert {setting.tag: int(setting.text) for setting in profile} == INSERT_SETTINGS


def test_clickhouse_knows_every_setting_of_ours(tmp_path):
    root = ET.parse(ROOT / "infra/clickhouse/config.d/liquidations.xml").getroot()  # noqa: S314
    numbers = {element.tag for element in root if re.fullmatch(r"[\d.]+", element.text or "")} - {"listen_host"}
    client = clickhouse_connect.get_client(interface="chdb", path=str(tmp_path))
    try:
        known = {name for (name,) in client.query("SELECT name FROM system.server_settings").result_rows}
    finally:
        client.close()
    assert "mark_cache_size" in numbers
    assert numbers <= known


def properties(text):
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def test_image_is_locked_and_runs_as_nobody_special(services):
    text = DOCKERFILE.read_text()
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    assert text.index("USER ") > text.rindex("FROM ")
    uv = re.search(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert f"uv=={uv}" in text
    assert "--require-hashes -r requirements.lock" in text
    for name in ("ingest", "worker", "sink"):
        script = services[name]["healthcheck"]["test"][2]
        assert re.search(rf"^COPY (\S+) {re.escape(script)}$", text, re.MULTILINE)


def test_image_is_built_from_files_that_docker_is_sent():
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    sources = {source for copy in copies for source in copy.split()}
    assert sources
    assert all((ROOT / source).exists() for source in sources)
    assert {source.split("/")[0] for source in sources} == sent
