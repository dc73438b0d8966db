//! The disk fails or the machine stops at every call that the journal makes, once and twice in a row.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use world::disk::{EIO, EMFILE, ENOSPC, EROFS, Fault, Keep, SimDisk};
use world::{World, is_soak};

const KEEPS: [Keep; 6] = [Keep::All, Keep::Synced, Keep::Torn(1), Keep::Torn(2), Keep::Torn(3), Keep::Torn(4)];

/// A world that has something to lose: snapshots, several segments, an unfinished end.
fn lived_in() -> World {
    let mut world = World::new(SimDisk::default());
    world.live().unwrap();
    world.live().unwrap();
    world
}

/// How many calls the next life makes.
fn calls_of_a_life(world: &World) -> u64 {
    let mut world = world.fork();
    let before = world.disk.calls();
    world.live().unwrap();
    world.disk.calls() - before
}

#[test]
fn a_life_crosses_every_kind_of_call() {
    let mut world = lived_in().fork();
    world.live().unwrap();
    let log = world.disk.log().join("\n");
    for words in [
        "lock ",
        "list ",
        "read journal-",
        "len journal-",
        "create journal-",
        "append journal-",
        "fsync journal-",
        "rename journal-",
        "fsync_dir ",
        "remove journal-",
    ] {
        assert!(log.contains(words), "no {words} in\n{log}");
    }
    for words in ["create snapshot-", "append snapshot-", "fsync snapshot-", "rename snapshot-", "remove snapshot-"] {
        assert!(log.contains(words), "no {words} in\n{log}");
    }
    assert!(calls_of_a_life(&lived_in()) >= 25, "{log}");
}

/// The n-th call fails, n = 1, 2, … until none is hit: the program goes on, or ends with an error, and never says a thing is durable that isn't.
#[test]
fn the_nth_call_fails() {
    let start = lived_in();
    let calls = calls_of_a_life(&start);
    for fault in [Fault::Error(EIO), Fault::Error(ENOSPC), Fault::Error(EROFS), Fault::Error(EMFILE), Fault::Short] {
        let mut survived = 0;
        for n in 1..=calls + 10 {
            for keep in KEEPS {
                let mut world = start.fork();
                world.disk.fail_at(n, fault);
                survived += u64::from(world.live().is_ok());
                world.disk.restart(keep);
                world.recover().unwrap_or_else(|error| panic!("{fault:?} at call {n}, then {keep:?}: {error}"));
            }
        }
        // Only opening the journal may fail for good; a failed write, fsync or rename later on heals by itself.
        assert!(survived > calls * 4, "{fault:?}: {survived} of {}", 6 * calls);
    }
}

/// A failed fsync loses bytes without a word. The program is killed, not the machine, so the next one still sees them; then the power fails.
#[test]
fn what_a_failed_fsync_lost_is_not_believed_after_a_kill() {
    let start = lived_in();
    let calls = calls_of_a_life(&start);
    for n in 1..=calls {
        for crash in n + 1..=(n + 6).min(calls + 6) {
            let mut world = start.fork();
            world.disk.fail_at(n, Fault::Error(EIO));
            world.disk.fail_at(crash, Fault::CrashBefore);
            let _ = world.live();
            world.disk.restart(Keep::All);
            // Recovered and told that its end is durable: so it must be.
            world.live().unwrap();
            world.disk.restart(Keep::Synced);
            world.recover().unwrap_or_else(|error| panic!("EIO at {n}, kill at {crash}: {error}"));
        }
    }
}

/// The machine stops before and after every call.
#[test]
fn the_machine_stops() {
    let start = lived_in();
    for n in 1..=calls_of_a_life(&start) {
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            for keep in KEEPS {
                let mut world = start.fork();
                world.disk.fail_at(n, fault);
                assert!(world.live().is_err() || world.disk.is_down(), "call {n} was not reached");
                world.disk.restart(keep);
                world.live().unwrap_or_else(|error| panic!("{fault:?} at call {n}, then {keep:?}: {error}"));
                world.disk.restart(Keep::Synced);
                world.recover().unwrap();
            }
        }
    }
}

/// It stops, and stops again in its next life, which begins with recovery.
#[test]
fn the_machine_stops_twice() {
    let start = lived_in();
    let calls = calls_of_a_life(&start);
    // All of the second life's first calls, where recovery is; of its later ones every seventh, another one for each first stop.
    let recovery = 40;
    let mut pairs = 0;
    for n in 1..=calls {
        let keep = [Keep::All, Keep::Synced, Keep::Torn(n)][n as usize % 3];
        let mut stopped = start.fork();
        stopped.disk.fail_at(n, Fault::CrashBefore);
        let _ = stopped.live();
        stopped.disk.restart(keep);
        for m in 1..=calls + 20 {
            if !is_soak() && m > recovery && (m + n) % 7 != 0 {
                continue;
            }
            pairs += 1;
            let mut world = stopped.fork();
            world.disk.fail_at(m, if (n + m) % 2 == 0 { Fault::CrashBefore } else { Fault::CrashAfter });
            let _ = world.live();
            world.disk.restart([Keep::Torn(m), Keep::All, Keep::Synced][m as usize % 3]);
            world.recover().unwrap_or_else(|error| panic!("stopped at {n} ({keep:?}) and at {m}: {error}"));
        }
    }
    assert!(pairs >= 600, "{pairs} pairs");
}

/// Faults and stops by chance, over many lives.
#[test]
fn long_lives() {
    let worlds = if is_soak() { 2_000 } else { 60 };
    for seed in 0..worlds {
        let mut random = world::disk::Random(seed);
        let mut world = World::new(SimDisk::default());
        for _ in 0..12 {
            for _ in 0..random.below(4) {
                let faults = [Fault::Error(EIO), Fault::Error(ENOSPC), Fault::Short, Fault::CrashBefore, Fault::CrashAfter];
                world.disk.fail_at(1 + random.below(160), faults[random.below(5) as usize]);
            }
            let _ = world.live();
            world.disk.restart([Keep::All, Keep::Synced, Keep::Torn(random.next())][random.below(3) as usize]);
        }
        world.recover().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(world.acknowledged() > 0, "seed {seed}: nothing was ever acknowledged");
    }
}
