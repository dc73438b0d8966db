//! What a value must be before it becomes part of a tick.

use dataflows::fixed::{self, DecimalError, NOTIONAL_MAX, Notional, ONE, Price, Quantity, Rate};
use dataflows::model::{Kline, Trade};

use super::reason;
use super::symbols::Symbol;
use super::wire::Text;

/// 2009-01-01, UTC ms.
const TIME_MIN: i64 = 1_230_768_000_000;
/// 2101-01-01, UTC ms.
const TIME_MAX: i64 = 4_133_980_800_000;

/// When a frame came, and how far its event times may be from that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub ms: i64,
    pub skew_ms_max: i64,
}

impl Arrival {
    pub fn new(recv_ns: i64, skew_ms_max: i64) -> Self {
        Self { ms: recv_ns.div_euclid(1_000_000), skew_ms_max }
    }

    /// An event time of a live message: near its arrival.
    pub fn live(&self, text: &Text<'_>) -> Result<i64, &'static str> {
        let ts = time(text)?;
        let skewed = self.skew_ms_max > 0 && ts.abs_diff(self.ms) > self.skew_ms_max.unsigned_abs();
        if skewed { Err(reason::SKEW) } else { Ok(ts) }
    }
}

/// A time that may be long ago: UTC ms, years 2009 to 2100.
pub(super) fn time(text: &Text<'_>) -> Result<i64, &'static str> {
    let ms = text.integer().ok_or(reason::MISSING)?.map_err(|()| reason::TIME)?;
    i64::try_from(ms).ok().filter(|t| (TIME_MIN..TIME_MAX).contains(t)).ok_or(reason::TIME_RANGE)
}

pub(super) fn id(text: &Text<'_>) -> Result<u64, &'static str> {
    text.integer().ok_or(reason::MISSING)?.map_err(|()| reason::ID)
}

pub(super) fn flag(text: &Text<'_>) -> Result<bool, &'static str> {
    match text.said().as_deref() {
        Some(b"true") => Ok(true),
        Some(b"false") => Ok(false),
        Some(_) => Err(reason::FLAG),
        None => Err(reason::MISSING),
    }
}

fn decimal(text: &Text<'_>, not: &'static str, range: &'static str) -> Result<Option<i128>, &'static str> {
    let Some(said) = text.said() else { return Ok(None) };
    match fixed::parse(&said) {
        Ok(value) => Ok(Some(value)),
        Err(DecimalError::OutOfRange) => Err(range),
        Err(DecimalError::Empty | DecimalError::NotANumber) => Err(not),
    }
}

/// A price per coin: above zero.
pub(super) fn price(text: &Text<'_>, symbol: Symbol) -> Result<Price, &'static str> {
    price_if_said(text, symbol)?.ok_or(reason::MISSING)
}

/// As [`price`], `None` if the message leaves it out.
pub(super) fn price_if_said(text: &Text<'_>, symbol: Symbol) -> Result<Option<Price>, &'static str> {
    let Some(value) = decimal(text, reason::PRICE, reason::PRICE_RANGE)? else { return Ok(None) };
    let per_coin = if symbol.multiplier == 1 { value } else { per_coin(value, symbol.multiplier) };
    i64::try_from(per_coin).ok().filter(|&p| p > 0).map(|p| Some(Price(p))).ok_or(reason::PRICE_RANGE)
}

/// Exact wherever the quotient has at most 12 decimals; the rest (contracts on ten million coins) rounds half up.
fn per_coin(value: i128, multiplier: i64) -> i128 {
    if let Some(rounded) = i64::try_from(value).ok().and_then(|value| value.checked_add(multiplier / 2)) {
        return i128::from(rounded.div_euclid(multiplier)); // four times as fast
    }
    let multiplier = i128::from(multiplier);
    (value + multiplier / 2).div_euclid(multiplier)
}

/// A price, or `None` if left out or zero ("none yet").
pub(super) fn price_unless_zero(text: &Text<'_>, symbol: Symbol) -> Result<Option<Price>, &'static str> {
    match decimal(text, reason::PRICE, reason::PRICE_RANGE)? {
        None | Some(0) => Ok(None),
        Some(_) => price_if_said(text, symbol),
    }
}

/// A quantity in coins: not negative.
pub(super) fn quantity(text: &Text<'_>, symbol: Symbol) -> Result<Quantity, &'static str> {
    quantity_if_said(text, symbol)?.ok_or(reason::MISSING)
}

/// As [`quantity`], `None` if the message leaves it out.
pub(super) fn quantity_if_said(text: &Text<'_>, symbol: Symbol) -> Result<Option<Quantity>, &'static str> {
    let Some(value) = decimal(text, reason::QUANTITY, reason::QUANTITY_RANGE)? else { return Ok(None) };
    match value.checked_mul(i128::from(symbol.multiplier)) {
        Some(coins) if coins >= 0 => Ok(Some(Quantity(coins))),
        _ => Err(reason::QUANTITY_RANGE),
    }
}

/// Price × quantity of one event: above zero, below [`NOTIONAL_MAX`].
pub(super) fn event_size(price: Price, qty: Quantity) -> Result<(), &'static str> {
    if qty.0 == 0 {
        return Err(reason::QUANTITY_ZERO);
    }
    if price.notional(qty).0 > NOTIONAL_MAX { Err(reason::NOTIONAL_RANGE) } else { Ok(()) }
}

pub(super) fn trade(trade: Trade) -> Result<Trade, &'static str> {
    event_size(trade.price, trade.qty).map(|()| trade)
}

/// A bar's turnover, in quote units.
pub(super) fn turnover(text: &Text<'_>) -> Result<Option<Notional>, &'static str> {
    let Some(value) = decimal(text, reason::NOTIONAL, reason::NOTIONAL_RANGE)? else { return Ok(None) };
    match value.checked_mul(ONE) {
        Some(notional) if notional >= 0 => Ok(Some(Notional(notional))),
        _ => Err(reason::NOTIONAL_RANGE),
    }
}

/// A funding rate: |rate| below 1 per interval (no venue's cap comes near).
pub(super) fn rate(text: &Text<'_>) -> Result<Option<Rate>, &'static str> {
    let Some(value) = decimal(text, reason::RATE, reason::RATE_RANGE)? else { return Ok(None) };
    if value.abs() < ONE { Ok(Some(Rate(value as i64))) } else { Err(reason::RATE_RANGE) }
}

/// Hours between settlements.
pub(super) fn interval_hours(text: &Text<'_>) -> Result<Option<u8>, &'static str> {
    match text.integer() {
        None => Ok(None),
        Some(Ok(hours @ 1..=168)) => Ok(Some(hours as u8)),
        Some(_) => Err(reason::INTERVAL),
    }
}

/// A bar whose prices are in order and which opens where bars open.
pub(super) fn kline(kline: Kline) -> Result<Kline, &'static str> {
    if kline.timeframe.open_of(kline.open_ts) != kline.open_ts {
        return Err(reason::ALIGNMENT);
    }
    let (top, bottom) = (kline.open.max(kline.close), kline.open.min(kline.close));
    if kline.high < top || kline.low > bottom { Err(reason::PRICE_ORDER) } else { Ok(kline) }
}
