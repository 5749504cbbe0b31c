"""Death at every point: what was written is kept, what is torn is cut, the rest is done again."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from penstock.errors import CorruptError, JobChangedError, StorageError
from penstock.job.journal import ENTRY_BYTES, Journal, journal_path
from penstock.job.manifest import manifest_path
from penstock.util import exitcodes
from python.job_process import FAKE_JOB, rows, spawn

HEADER_BYTES = 32


def finish(job):
    process = spawn(job)
    _, said = process.communicate(timeout=60)
    assert process.returncode == exitcodes.OK, said.decode()
    return sorted(job.output.read_bytes().splitlines())


@pytest.fixture
def golden(job):
    """A finished job of 40 rows: its sorted lines, with its files as they were written."""
    job.write([*rows(39), {"id": "bad"}])
    process = spawn(job)
    process.communicate(timeout=60)
    assert process.returncode == exitcodes.ROW_ERRORS
    return sorted(job.output.read_bytes().splitlines())


def rerun(job):
    process = spawn(job)
    _, said = process.communicate(timeout=60)
    return process.returncode, said.decode()


def without_marks(job):
    """Removes the marks that say "synced", as a machine that died before a sync."""
    path = journal_path(job.output)
    raw = path.read_bytes()
    entries = [raw[i : i + ENTRY_BYTES] for i in range(HEADER_BYTES, len(raw), ENTRY_BYTES)]
    kept = [entry for entry in entries if entry[:8] != bytes(8)]
    path.write_bytes(raw[:HEADER_BYTES] + b"".join(kept))
    return len(kept)


def test_any_torn_end_of_either_file_is_repaired(job, golden):
    without_marks(job)
    output, journal = job.output.read_bytes(), journal_path(job.output).read_bytes()
    made = random.Random(1)
    for _ in range(6):
        job.output.write_bytes(output[: made.randrange(len(output) + 1)])
        cut = made.randrange(HEADER_BYTES, len(journal) + 1)
        journal_path(job.output).write_bytes(journal[:cut])
        assert rerun(job)[0] == exitcodes.ROW_ERRORS
        assert sorted(job.output.read_bytes().splitlines()) == golden


def test_a_record_whose_entry_was_lost_is_not_done_again(job, golden):
    path = journal_path(job.output)
    path.write_bytes(path.read_bytes()[:HEADER_BYTES])
    before = job.output.read_bytes()
    code, said = rerun(job)
    assert code == exitcodes.ROW_ERRORS
    assert "40 of 40 rows" in said
    assert job.output.read_bytes() == before
    assert len(path.read_bytes()) == HEADER_BYTES + 40 * ENTRY_BYTES


def test_a_lost_journal_is_written_anew(job, golden):
    journal_path(job.output).unlink()
    assert rerun(job)[0] == exitcodes.ROW_ERRORS
    assert sorted(job.output.read_bytes().splitlines()) == golden


def test_garbage_behind_the_records_is_cut(job, golden):
    for garbage in (
        b"\0" * 5000,
        b'{"id":"row 1","text"',
        b"noise\n",
        b'{"id":"row 1","usage":{}}\n',
    ):
        with job.output.open("ab") as file:
            file.write(garbage)
        assert rerun(job)[0] == exitcodes.ROW_ERRORS
        assert sorted(job.output.read_bytes().splitlines()) == golden


def test_an_edited_output_is_refused_and_left_alone(job, golden):
    raw = bytearray(job.output.read_bytes())
    raw[len(raw) // 2] ^= 1
    job.output.write_bytes(raw)
    code, said = rerun(job)
    assert code == exitcodes.REFUSED
    assert "changed at byte" in said and "--overwrite" in said
    assert job.output.read_bytes() == raw
    job.output.unlink()
    assert rerun(job)[0] == exitcodes.REFUSED


def test_an_unsynced_change_is_done_again(job, golden):
    without_marks(job)
    raw = bytearray(job.output.read_bytes())
    raw[len(raw) // 2] ^= 1
    job.output.write_bytes(raw)
    assert rerun(job)[0] == exitcodes.ROW_ERRORS
    assert sorted(job.output.read_bytes().splitlines()) == golden


def test_foreign_files_are_refused(job, golden):
    path, manifest = journal_path(job.output), manifest_path(job.output)
    kept = path.read_bytes()
    path.write_bytes(b"x" * 64)
    assert "not a journal" in rerun(job)[1]
    path.write_bytes(kept[:24] + b"\1" * 8 + kept[32:])
    assert "another job" in rerun(job)[1]
    path.write_bytes(kept)
    whole = manifest.read_bytes()
    for content in (b"", b"[]", b"{}", b'{"format": 99}', b"\xff"):
        manifest.write_bytes(content)
        assert rerun(job)[0] == exitcodes.REFUSED
    manifest.unlink()
    assert rerun(job)[0] == exitcodes.REFUSED
    manifest.write_bytes(whole)
    assert rerun(job)[0] == exitcodes.ROW_ERRORS


def test_a_job_is_locked(job):
    job.write(rows(2))
    journal = Journal(journal_path(job.output))
    with pytest.raises(StorageError, match="another process"):
        job.run()
    journal.close()
    assert job.run().exit_code == exitcodes.OK


def test_another_engine_build_is_refused(job):
    job.write(rows(30))
    process = spawn(job, '{"seconds_per_step": 0.05}')
    _wait_for_records(job, process)
    process.kill()
    process.communicate()
    manifest = json.loads(manifest_path(job.output).read_text())
    manifest["engine"]["isa"] = "another"
    with pytest.raises((JobChangedError, CorruptError)):
        manifest_path(job.output).write_text(json.dumps(manifest))
        job.run(seed=7)


def _wait_for_records(job, process, count=1):
    while not job.output.exists() or job.output.read_bytes().count(b"\n") < count:
        assert process.poll() is None
        time.sleep(0.01)


def _children(pid):
    return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


def _wait_until_gone(pids):
    end = time.monotonic() + 20
    while any(map(_is_alive, pids)):
        assert time.monotonic() < end, "a child outlived its parent"
        time.sleep(0.01)


def test_killed_at_random_moments_nothing_is_lost_or_repeated(job, tmp_path):
    job.write(rows(60))
    golden_output = tmp_path / "golden.jsonl"
    job.output, kept = golden_output, job.output
    golden = finish(job)
    job.output = kept
    made = random.Random(3)
    kills = 0
    while kills < 10:
        process = spawn(job, '{"seconds_per_step": 0.02}')
        time.sleep(made.uniform(0.05, 0.9))
        children = _children(process.pid) if process.poll() is None else []
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        _wait_until_gone(children)
        if process.returncode == exitcodes.OK:
            for path in (job.output, journal_path(job.output), manifest_path(job.output)):
                path.unlink()
    assert finish(job) == golden


def test_killing_the_engine_is_a_fault_that_can_be_continued(job):
    job.write(rows(60))
    process = spawn(job, '{"seconds_per_step": 0.03}')
    _wait_for_records(job, process)
    os.kill(_children(process.pid)[0], signal.SIGKILL)
    _, said = process.communicate(timeout=20)
    assert process.returncode == exitcodes.FAULT
    assert b"killed by SIGKILL" in said and b"--host-memory" in said
    assert len(finish(job)) == 60


def test_an_engine_error_is_a_fault_that_keeps_finished_rows(job):
    job.write(rows(60))
    process = spawn(job, '{"fail_after": 30}')
    _, said = process.communicate(timeout=20)
    assert process.returncode == exitcodes.FAULT
    assert b"the fake disk failed" in said
    assert 0 < len(job.records()) < 60
    assert len(finish(job)) == 60


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_and_the_same_command_continues(job, number):
    job.write(rows(60))
    process = spawn(job, '{"seconds_per_step": 0.03}')
    _wait_for_records(job, process, 2)
    children = _children(process.pid)
    process.send_signal(number)
    process.communicate(timeout=10)
    assert process.returncode == exitcodes.STOPPED
    _wait_until_gone(children)
    assert 0 < len(job.records()) < 60
    assert len(finish(job)) == 60


def test_stopped_before_the_engine_stands(job):
    job.write(rows(60))
    process = spawn(job, '{"seconds_per_step": 1}')  # not over before the signal comes
    while not _children(process.pid):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode in (exitcodes.STOPPED, -signal.SIGINT)
    assert len(finish(job)) == 60


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        yield None
        return
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_a_fault_and_what_was_written_stays(job, small_disk):
    """On a small tmpfs where this user may mount one, else by a limit on the file's size."""
    job.write(rows(900))
    limit = ""
    if small_disk is None:
        limit = "ulimit -f 64; "
    else:
        job.output = small_disk / "out.jsonl"
    words = [sys.executable, FAKE_JOB, str(job.model), str(job.input), str(job.output), "", "30"]
    command = ["bash", "-c", limit + 'trap "" XFSZ; exec "$@"', "run", *words]
    run = subprocess.run(command, capture_output=True, timeout=120)
    assert run.returncode == exitcodes.FAULT, run.stderr.decode()
    kept = job.output.read_bytes()
    assert kept.endswith(b"\n") and 0 < kept.count(b"\n") < 900
    if small_disk is None:
        again = subprocess.run(words, capture_output=True, timeout=120)
        assert again.returncode == exitcodes.OK
        assert job.output.read_bytes().startswith(kept)
    else:
        moved = small_disk.parent / "moved"
        shutil.copytree(small_disk, moved)
        words[4] = str(moved / "out.jsonl")
        again = subprocess.run(words, capture_output=True, timeout=120)
        assert again.returncode == exitcodes.OK, again.stderr.decode()
        assert (moved / "out.jsonl").read_bytes().startswith(kept)
        assert len((moved / "out.jsonl").read_bytes().splitlines()) == 900


def test_an_input_that_changes_while_the_job_runs_is_noticed(job):
    job.write(rows(60))
    process = spawn(job, '{"seconds_per_step": 0.03}')
    _wait_for_records(job, process)
    with job.input.open("ab") as file:
        file.write(b'{"id":"late","prompt":"x"}\n')
    _, said = process.communicate(timeout=60)
    assert process.returncode == exitcodes.REFUSED
    assert b"changed while the job ran" in said
    assert len(job.records()) == 60


def test_jobs_run_outside_the_main_thread(job):
    job.write(rows(3))
    results = []
    thread = threading.Thread(target=lambda: results.append(job.run()))
    thread.start()
    thread.join(60)
    assert [r.exit_code for r in results] == [exitcodes.OK]
