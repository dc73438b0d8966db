//! Draining: what lies in the spool goes to ClickHouse, oldest first, and it is asked again and again while it takes nothing.
//!
//! A round takes up to 8 MiB of parcels, puts their batches together by table, and counts as done when all tables have
//! them; what was stored of a round isn't sent again when another table fails. So an hour of small batches drains as fast as ClickHouse sorts,
//! not as fast as it answers.
//!
//! Attempts: at once, then after [`PAUSE_MIN`], doubling up to [`PAUSE_MAX`]; every [`PAUSE_FOR_A_PERSON`] where only a person can help. A table that refuses
//! holds the others of later rounds: everything waits in the spool, nothing is lost, and its fullness stops the pipeline in the end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::time::sleep;

use super::StoreError;
use super::batch::Batch;
use super::error::Class;
use super::insert::Target;
use super::spool::{Next, Round, Spool};

/// Between two attempts while ClickHouse is away.
pub const PAUSE_MIN: Duration = Duration::from_secs(1);
/// As [`PAUSE_MIN`], after some of them.
pub const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Between two attempts where access, a table or its columns must be mended first.
pub const PAUSE_FOR_A_PERSON: Duration = Duration::from_secs(30);

/// Parcels become durable meanwhile.
const SOON: Duration = Duration::from_millis(20);

/// Returns once ClickHouse takes rows, and has all that was durable at the last look. Answers with how many rows it took.
pub(crate) async fn drain(spool: Arc<Spool>, target: Arc<Target>, inserts_max: usize) -> u64 {
    let mut rows = 0;
    let mut pause = PAUSE_MIN;
    loop {
        let looked = Arc::clone(&spool);
        let next = tokio::task::spawn_blocking(move || looked.next()).await;
        match next.unwrap_or_else(|e| Err(StoreError::Spool(e.to_string()))) {
            Ok(Next::Nothing) => return rows,
            Ok(Next::Soon) => sleep(SOON).await,
            Ok(Next::Round(round)) => {
                rows += store(&round, &spool, &target, inserts_max, &mut pause).await;
                let (noted, is_last) = (Arc::clone(&spool), round.is_last);
                let noted = tokio::task::spawn_blocking(move || noted.done(&round)).await;
                if noted.is_ok() && is_last {
                    return rows;
                }
            }
            Err(error) => {
                spool.say_away(&error, error.class() != Class::Retry);
                sleep(PAUSE_MAX).await;
            }
        }
    }
}

/// Until all of a round is stored.
async fn store(round: &Round, spool: &Spool, target: &Arc<Target>, inserts_max: usize, pause: &mut Duration) -> u64 {
    let mut left: Vec<Arc<Batch>> = round.batches.clone();
    let rows = left.iter().map(|batch| u64::from(batch.rows)).sum();
    loop {
        let attempts = left.iter().cloned().map(|batch| {
            let target = Arc::clone(target);
            async move { target.store(&batch).await.map(|()| batch) }
        });
        let mut attempts = stream::iter(attempts.collect::<Vec<_>>()).buffer_unordered(inserts_max.max(1));
        let mut failed = None;
        while let Some(outcome) = attempts.next().await {
            match outcome {
                Ok(stored) => {
                    left.retain(|batch| !Arc::ptr_eq(batch, &stored));
                    *pause = PAUSE_MIN;
                }
                // Others would fail for the same reason: one attempt a pause is enough.
                Err(error) if error.class() == Class::Retry => {
                    failed = Some(error);
                    break;
                }
                // It is this table's matter, so the others have their turn.
                Err(error) => failed = Some(error),
            }
        }
        drop(attempts);
        let Some(error) = failed else { return rows };
        let must_act = error.class() != Class::Retry;
        spool.say_away(&error, must_act);
        if must_act {
            sleep(PAUSE_FOR_A_PERSON).await;
        } else {
            sleep(*pause).await;
            *pause = (*pause * 2).min(PAUSE_MAX);
        }
    }
}
