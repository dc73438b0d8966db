//! Wilder's recursions (New Concepts in Technical Trading Systems, 1978): RSI and ADX over 14 bars.
//!
//! Each begins with a plain mean over its first 14 inputs and goes on with (13 · before + input) / 14.

use super::series::Candle;

const N: u32 = 14;

/// A mean that Wilder smooths.
#[derive(Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
struct Smoothed {
    seen: u32,
    value: f64,
}

impl Smoothed {
    fn add(&mut self, input: f64) {
        self.seen = self.seen.saturating_add(1);
        if self.seen <= N {
            self.value += input / f64::from(N);
        } else {
            self.value = (self.value * f64::from(N - 1) + input) / f64::from(N);
        }
    }

    fn known(&self) -> Option<f64> {
        (self.seen >= N).then_some(self.value)
    }
}

/// Both recursions, bar by bar.
#[derive(Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Wilder {
    before: Option<Candle>,
    gain: Smoothed,
    loss: Smoothed,
    range: Smoothed,
    up: Smoothed,
    down: Smoothed,
    direction: Smoothed,
}

impl Wilder {
    pub fn add(&mut self, candle: &Candle) {
        let Some(before) = self.before.replace(*candle) else { return };
        let change = candle.close - before.close;
        self.gain.add(change.max(0.0));
        self.loss.add((-change).max(0.0));
        let (up, down) = (candle.high - before.high, before.low - candle.low);
        let beyond = (candle.high - before.close).abs().max((candle.low - before.close).abs());
        self.range.add((candle.high - candle.low).max(beyond));
        self.up.add(if up > down && up > 0.0 { up } else { 0.0 });
        self.down.add(if down > up && down > 0.0 { down } else { 0.0 });
        if let (Some(range), Some(up), Some(down)) = (self.range.known(), self.up.known(), self.down.known()) {
            // Both directions are shares of the range, which cancels out; a market that stands still has none.
            let moved = up + down;
            self.direction.add(if range > 0.0 && moved > 0.0 { 100.0 * (up - down).abs() / moved } else { 0.0 });
        }
    }

    /// 0 … 100; 50 if nothing moved.
    pub fn rsi(&self) -> Option<f64> {
        let (gain, loss) = (self.gain.known()?, self.loss.known()?);
        Some(if gain + loss > 0.0 { 100.0 * gain / (gain + loss) } else { 50.0 })
    }

    /// 0 … 100.
    pub fn adx(&self) -> Option<f64> {
        self.direction.known()
    }
}
