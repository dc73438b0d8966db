//! The bars' state in a snapshot: an instrument's bars with what is still to be said of them.

use super::{InstrumentBars, State};
use crate::keeping::{Kept, Load, Save};

/// By time frame and opening: an instrument's open bars that changed since open bars were last published.
type Dirty = Vec<(usize, i64)>;

impl Kept for State {
    fn save(&self, save: &mut Save) {
        let Self { watermarks, heard, closed_to, flat_to, published_at, forgotten_to, .. } = self;
        save.shared(&(watermarks, heard, closed_to, flat_to, published_at, forgotten_to));
        let mut dirty: Vec<Dirty> = vec![Vec::new(); self.instruments.len()];
        for &(at, frame, open_ts) in self.dirty_open.iter().flatten() {
            dirty[at].push((frame, open_ts));
        }
        self.instruments.iter().zip(dirty).for_each(|part| save.part(part.0.id, &part));
    }

    fn load(&mut self, load: &mut Load<'_>) -> Result<(), postcard::Error> {
        if let Some(shared) = load.shared()? {
            (self.watermarks, self.heard, self.closed_to, self.flat_to, self.published_at, self.forgotten_to) = shared;
        }
        while let Some((id, (instrument, dirty))) = load.part::<(InstrumentBars, Dirty)>()? {
            let at = self.instruments.len();
            self.index.insert(id, at);
            self.instruments.push(instrument);
            dirty.into_iter().for_each(|(frame, open_ts)| self.dirty_open[frame].push((at, frame, open_ts)));
        }
        Ok(())
    }
}
