//! What is stored in one go: parcels put together, one insert a table.

use std::sync::Arc;

use journal::Seq;

use super::super::StoreError;
use super::super::batch::{Batch, Parcel, unpack};

/// Some of what is to be stored next.
pub(crate) struct Round {
    /// One a table, as far as columns agree.
    pub batches: Vec<Arc<Batch>>,
    /// Nothing durable comes after it.
    pub is_last: bool,
    pub(super) from: Source,
}

pub(super) enum Source {
    Disk { up_to: Seq },
    Memory { parcels: Vec<Arc<Parcel>> },
}

/// What there is to store.
pub(crate) enum Next {
    Nothing,
    /// It is on its way to the disk.
    Soon,
    Round(Round),
}

/// Batches put together by table.
#[derive(Default)]
pub(super) struct Merged {
    batches: Vec<Batch>,
    pub bytes: usize,
}

impl Merged {
    pub fn add(&mut self, payload: &[u8]) -> Result<(), StoreError> {
        let batches = unpack(payload).ok_or_else(|| StoreError::Spool("a parcel of the spool can't be unpacked".into()))?;
        for batch in batches {
            self.bytes += batch.bytes.len();
            if !self.batches.iter_mut().any(|merged| merged.merge(&batch)) {
                self.batches.push(batch);
            }
        }
        Ok(())
    }

    pub fn done(self, is_last: bool, from: Source) -> Round {
        Round { batches: self.batches.into_iter().map(Arc::new).collect(), is_last, from }
    }
}
