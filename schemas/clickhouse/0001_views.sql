-- The views of issue 2. Each NAME is kept as three things:
--   NAME_changes  every change ever: the view's columns, known_at (when it was learnt), diff (+1 the row enters, -1 it leaves).
--                 A change inserted twice is the same row twice: ReplacingMergeTree merges it away, and the views below don't see it.
--   NAME          what is true now: the newest change of each key, where it says +1. ORDER BY is the table's key exactly
--                 reversed, so that the engine reads in order and LIMIT 1 BY keeps the first row of each key.
--   NAME_asof     the same for what was known at t: SELECT * FROM bars_asof(t = '2024-08-08 12:00:00').
-- A statement ends with a semicolon at the end of a line. IF NOT EXISTS lets an interrupted migration be run again.

-- Open, high, low, close and sums of one time frame.
CREATE TABLE IF NOT EXISTS bars_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    timeframe              LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    open                   Float64,
    high                   Float64,
    low                    Float64,
    close                  Float64,
    volume                 Float64,
    notional               Float64,
    vwap                   Nullable(Float64),
    taker_buy_volume       Float64,
    trades                 UInt64,
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (venue, symbol, timeframe, ts, known_at, diff);

CREATE VIEW IF NOT EXISTS bars AS
SELECT venue, symbol, timeframe, ts, open, high, low, close, volume, notional, vwap, taker_buy_volume, trades
FROM
(
    SELECT venue, symbol, timeframe, ts, open, high, low, close, volume, notional, vwap, taker_buy_volume, trades, diff
    FROM bars_changes
    ORDER BY venue DESC, symbol DESC, timeframe DESC, ts DESC, known_at DESC, diff DESC
    LIMIT 1 BY venue, symbol, timeframe, ts
)
WHERE diff > 0;

CREATE VIEW IF NOT EXISTS bars_asof AS
SELECT venue, symbol, timeframe, ts, open, high, low, close, volume, notional, vwap, taker_buy_volume, trades
FROM
(
    SELECT venue, symbol, timeframe, ts, open, high, low, close, volume, notional, vwap, taker_buy_volume, trades, diff
    FROM bars_changes
    WHERE known_at <= {t:DateTime64(3, 'UTC')}
    ORDER BY venue DESC, symbol DESC, timeframe DESC, ts DESC, known_at DESC, diff DESC
    LIMIT 1 BY venue, symbol, timeframe, ts
)
WHERE diff > 0;

-- Positions closed by force.
CREATE TABLE IF NOT EXISTS liquidations_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    position_side          LowCardinality(String),
    price                  Float64,
    qty                    Float64,
    seq                    UInt32,
    price_kind             LowCardinality(String),
    notional               Float64,
    coverage               LowCardinality(String),
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (venue, symbol, ts, position_side, price, qty, seq, known_at, diff);

CREATE VIEW IF NOT EXISTS liquidations AS
SELECT venue, symbol, ts, position_side, price, qty, seq, price_kind, notional, coverage
FROM
(
    SELECT venue, symbol, ts, position_side, price, qty, seq, price_kind, notional, coverage, diff
    FROM liquidations_changes
    ORDER BY venue DESC, symbol DESC, ts DESC, position_side DESC, price DESC, qty DESC, seq DESC, known_at DESC, diff DESC
    LIMIT 1 BY venue, symbol, ts, position_side, price, qty, seq
)
WHERE diff > 0;

CREATE VIEW IF NOT EXISTS liquidations_asof AS
SELECT venue, symbol, ts, position_side, price, qty, seq, price_kind, notional, coverage
FROM
(
    SELECT venue, symbol, ts, position_side, price, qty, seq, price_kind, notional, coverage, diff
    FROM liquidations_changes
    WHERE known_at <= {t:DateTime64(3, 'UTC')}
    ORDER BY venue DESC, symbol DESC, ts DESC, position_side DESC, price DESC, qty DESC, seq DESC, known_at DESC, diff DESC
    LIMIT 1 BY venue, symbol, ts, position_side, price, qty, seq
)
WHERE diff > 0;

-- Trailing sums of liquidations at each full minute.
CREATE TABLE IF NOT EXISTS liquidation_windows_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    window                 LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    long_notional          Float64,
    short_notional         Float64,
    count                  UInt64,
    largest                Float64,
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (venue, symbol, window, ts, known_at, diff);

CREATE VIEW IF NOT EXISTS liquidation_windows AS
SELECT venue, symbol, window, ts, long_notional, short_notional, count, largest
FROM
(
    SELECT venue, symbol, window, ts, long_notional, short_notional, count, largest, diff
    FROM liquidation_windows_changes
    ORDER BY venue DESC, symbol DESC, window DESC, ts DESC, known_at DESC, diff DESC
    LIMIT 1 BY venue, symbol, window, ts
)
WHERE diff > 0;

CREATE VIEW IF NOT EXISTS liquidation_windows_asof AS
SELECT venue, symbol, window, ts, long_notional, short_notional, count, largest
FROM
(
    SELECT venue, symbol, window, ts, long_notional, short_notional, count, largest, diff
    FROM liquidation_windows_changes
    WHERE known_at <= {t:DateTime64(3, 'UTC')}
    ORDER BY venue DESC, symbol DESC, window DESC, ts DESC, known_at DESC, diff DESC
    LIMIT 1 BY venue, symbol, window, ts
)
WHERE diff > 0;

-- The life of a liquidation cascade, one row each.
CREATE TABLE IF NOT EXISTS cascades_changes
(
    cascade_id             String,
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    window                 LowCardinality(String),
    onset                  DateTime64(3, 'UTC'),
    last_active            DateTime64(3, 'UTC'),
    ended_at               Nullable(DateTime64(3, 'UTC')),
    total_liquidated_usd   Float64,
    velocity_usd_per_hour  Float64,
    peak_velocity          Float64,
    side_bias              LowCardinality(String),
    severity               Float64,
    severity_label         LowCardinality(String),
    long_notional          Float64,
    short_notional         Float64,
    count                  UInt64,
    price_move_bps         Nullable(Float64),
    coverage               LowCardinality(String),
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(onset)
ORDER BY (cascade_id, known_at, diff);

CREATE VIEW IF NOT EXISTS cascades AS
SELECT cascade_id, venue, symbol, window, onset, last_active, ended_at, total_liquidated_usd, velocity_usd_per_hour, peak_velocity, side_bias, severity, severity_label, long_notional, short_notional, count, price_move_bps, coverage
FROM
(
    SELECT cascade_id, venue, symbol, window, onset, last_active, ended_at, total_liquidated_usd, velocity_usd_per_hour, peak_velocity, side_bias, severity, severity_label, long_notional, short_notional, count, price_move_bps, coverage, diff
    FROM cascades_changes
    ORDER BY cascade_id DESC, known_at DESC, diff DESC
    LIMIT 1 BY cascade_id
)
WHERE diff > 0;

CREATE VIEW IF NOT EXISTS cascades_asof AS
SELECT cascade_id, venue, symbol, window, onset, last_active, ended_at, total_liquidated_usd, velocity_usd_per_hour, peak_velocity, side_bias, severity, severity_label, long_notional, short_notional, count, price_move_bps, coverage
FROM
(
    SELECT cascade_id, venue, symbol, window, onset, last_active, ended_at, total_liquidated_usd, velocity_usd_per_hour, peak_velocity, side_bias, severity, severity_label, long_notional, short_notional, count, price_move_bps, coverage, diff
    FROM cascades_changes
    WHERE known_at <= {t:DateTime64(3, 'UTC')}
    ORDER BY cascade_id DESC, known_at DESC, diff DESC
    LIMIT 1 BY cascade_id
)
WHERE diff > 0;

-- Range estimators per day, over 24 h and (suffix _1h) over 1 h; regime '' where there is none.
CREATE TABLE IF NOT EXISTS volatility_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    close_to_close         Nullable(Float64),
    parkinson              Nullable(Float64),
    garman_klass           Nullable(Float64),
    rogers_satchell        Nullable(Float64),
    yang_zhang             Nullable(Float64),
    close_to_close_1h      Nullable(Float64),
    parkinson_1h           Nullable(Float64),
    garman_klass_1h        Nullable(Float64),
    rogers_satchell_1h     Nullable(Float64),
    yang_zhang_1h          Nullable(Float64),
    ewma                   Nullable(Float64),
    regime                 LowCardinality(String),
    risk_multiplier        Nullable(Float64),
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (venue, symbol, ts, known_at, diff);

CREATE VIEW IF NOT EXISTS volatility AS
SELECT venue, symbol, ts, close_to_close, parkinson, garman_klass, rogers_satchell, yang_zhang, close_to_close_1h, parkinson_1h, garman_klass_1h, rogers_satchell_1h, yang_zhang_1h, ewma, regime, risk_multiplier
FROM
(
    SELECT venue, symbol, ts, close_to_close, parkinson, garman_klass, rogers_satchell, yang_zhang, close_to_close_1h, parkinson_1h, garman_klass_1h, rogers_satchell_1h, yang_zhang_1h, ewma, regime, risk_multiplier, diff
    FROM volatility_changes
    ORDER BY venue DESC, symbol DESC, ts DESC, known_at DESC, diff DESC
    LIMIT 1 BY venue, symbol, ts
)
WHERE diff > 0;

CREATE VIEW IF NOT EXISTS volatility_asof AS
SELECT venue, symbol, ts, close_to_close, parkinson, garman_klass, rogers_satchell, yang_zhang, close_to_close_1h, parkinson_1h, garman_klass_1h, rogers_satchell_1h, yang_zhang_1h, ewma, regime, risk_multiplier
FROM
(
    SELECT venue, symbol, ts, close_to_close, parkinson, garman_klass, rogers_satchell, yang_zhang, close_to_close_1h, parkinson_1h, garman_klass_1h, rogers_satchell_1h, yang_zhang_1h, ewma, regime, risk_multiplier, diff
    FROM volatility_changes
    WHERE known_at <= {t:DateTime64(3, 'UTC')}
    ORDER BY venue DESC, symbol DESC, ts DESC, known_at DESC, diff DESC
    LIMIT 1 BY venue, symbol, ts
)
WHERE diff > 0;

-- Funding rates, predicted (one a minute) and settled.
CREATE TABLE IF NOT EXISTS funding_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    kind                   LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    rate                   Float64,
    interval_hours         UInt8,
    rate_8h                Float64,
    annualised             Float64,
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (venue, symbol, kind, ts, known_at, diff);

CREATE VIEW IF NOT EXISTS funding AS
SELECT venue, symbol, kind, ts, rate, interval_hours, rate_8h, annualised
FROM
(
    SELECT venue, symbol, kind, ts, rate, interval_hours, rate_8h, annualised, diff
    FROM funding_changes
    ORDER BY venue DESC, symbol DESC, kind DESC, ts DESC, known_at DESC, diff DESC
    LIMIT 1 BY venue, symbol, kind, ts
)
WHERE diff > 0;

CREATE VIEW IF NOT EXISTS funding_asof AS
SELECT venue, symbol, kind, ts, rate, interval_hours, rate_8h, annualised
FROM
(
    SELECT venue, symbol, kind, ts, rate, interval_hours, rate_8h, annualised, diff
    FROM funding_changes
    WHERE known_at <= {t:DateTime64(3, 'UTC')}
    ORDER BY venue DESC, symbol DESC, kind DESC, ts DESC, known_at DESC, diff DESC
    LIMIT 1 BY venue, symbol, kind, ts
)
WHERE diff > 0;

-- Open interest, one row a minute.
CREATE TABLE IF NOT EXISTS open_interest_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    base                   Float64,
    usd                    Nullable(Float64),
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (venue, symbol, ts, known_at, diff);

CREATE VIEW IF NOT EXISTS open_interest AS
SELECT venue, symbol, ts, base, usd
FROM
(
    SELECT venue, symbol, ts, base, usd, diff
    FROM open_interest_changes
    ORDER BY venue DESC, symbol DESC, ts DESC, known_at DESC, diff DESC
    LIMIT 1 BY venue, symbol, ts
)
WHERE diff > 0;

CREATE VIEW IF NOT EXISTS open_interest_asof AS
SELECT venue, symbol, ts, base, usd
FROM
(
    SELECT venue, symbol, ts, base, usd, diff
    FROM open_interest_changes
    WHERE known_at <= {t:DateTime64(3, 'UTC')}
    ORDER BY venue DESC, symbol DESC, ts DESC, known_at DESC, diff DESC
    LIMIT 1 BY venue, symbol, ts
)
WHERE diff > 0;

-- A venue's closed bar beside our own.
CREATE TABLE IF NOT EXISTS kline_checks_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    timeframe              LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    open                   Float64,
    high                   Float64,
    low                    Float64,
    close                  Float64,
    volume                 Float64,
    trades                 UInt64,
    kline_open             Float64,
    kline_high             Float64,
    kline_low              Float64,
    kline_close            Float64,
    kline_volume           Float64,
    kline_trades           Nullable(UInt64),
    agrees                 UInt8,
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (venue, symbol, timeframe, ts, known_at, diff);

CREATE VIEW IF NOT EXISTS kline_checks AS
SELECT venue, symbol, timeframe, ts, open, high, low, close, volume, trades, kline_open, kline_high, kline_low, kline_close, kline_volume, kline_trades, agrees
FROM
(
    SELECT venue, symbol, timeframe, ts, open, high, low, close, volume, trades, kline_open, kline_high, kline_low, kline_close, kline_volume, kline_trades, agrees, diff
    FROM kline_checks_changes
    ORDER BY venue DESC, symbol DESC, timeframe DESC, ts DESC, known_at DESC, diff DESC
    LIMIT 1 BY venue, symbol, timeframe, ts
)
WHERE diff > 0;

CREATE VIEW IF NOT EXISTS kline_checks_asof AS
SELECT venue, symbol, timeframe, ts, open, high, low, close, volume, trades, kline_open, kline_high, kline_low, kline_close, kline_volume, kline_trades, agrees
FROM
(
    SELECT venue, symbol, timeframe, ts, open, high, low, close, volume, trades, kline_open, kline_high, kline_low, kline_close, kline_volume, kline_trades, agrees, diff
    FROM kline_checks_changes
    WHERE known_at <= {t:DateTime64(3, 'UTC')}
    ORDER BY venue DESC, symbol DESC, timeframe DESC, ts DESC, known_at DESC, diff DESC
    LIMIT 1 BY venue, symbol, timeframe, ts
)
WHERE diff > 0;

-- Events that came after their window had closed.
CREATE TABLE IF NOT EXISTS late_events_changes
(
    venue                  LowCardinality(String),
    stream                 LowCardinality(String),
    known_at               DateTime64(3, 'UTC'),
    seq                    UInt64,
    symbol                 LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    reason                 LowCardinality(String),
    payload                String,
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (venue, stream, known_at, seq, diff);

CREATE VIEW IF NOT EXISTS late_events AS
SELECT venue, stream, known_at, seq, symbol, ts, reason, payload
FROM
(
    SELECT venue, stream, known_at, seq, symbol, ts, reason, payload, diff
    FROM late_events_changes
    ORDER BY venue DESC, stream DESC, known_at DESC, seq DESC, diff DESC
    LIMIT 1 BY venue, stream, known_at, seq
)
WHERE diff > 0;

CREATE VIEW IF NOT EXISTS late_events_asof AS
SELECT venue, stream, known_at, seq, symbol, ts, reason, payload
FROM
(
    SELECT venue, stream, known_at, seq, symbol, ts, reason, payload, diff
    FROM late_events_changes
    WHERE known_at <= {t:DateTime64(3, 'UTC')}
    ORDER BY venue DESC, stream DESC, known_at DESC, seq DESC, diff DESC
    LIMIT 1 BY venue, stream, known_at, seq
)
WHERE diff > 0;

-- Frames that were refused, with the beginning of their payload.
CREATE TABLE IF NOT EXISTS rejected_frames_changes
(
    venue                  LowCardinality(String),
    stream                 LowCardinality(String),
    known_at               DateTime64(3, 'UTC'),
    seq                    UInt64,
    ts                     DateTime64(3, 'UTC'),
    reason                 String,
    payload                String,
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(known_at)
ORDER BY (venue, stream, known_at, seq, diff);

CREATE VIEW IF NOT EXISTS rejected_frames AS
SELECT venue, stream, known_at, seq, ts, reason, payload
FROM
(
    SELECT venue, stream, known_at, seq, ts, reason, payload, diff
    FROM rejected_frames_changes
    ORDER BY venue DESC, stream DESC, known_at DESC, seq DESC, diff DESC
    LIMIT 1 BY venue, stream, known_at, seq
)
WHERE diff > 0;

CREATE VIEW IF NOT EXISTS rejected_frames_asof AS
SELECT venue, stream, known_at, seq, ts, reason, payload
FROM
(
    SELECT venue, stream, known_at, seq, ts, reason, payload, diff
    FROM rejected_frames_changes
    WHERE known_at <= {t:DateTime64(3, 'UTC')}
    ORDER BY venue DESC, stream DESC, known_at DESC, seq DESC, diff DESC
    LIMIT 1 BY venue, stream, known_at, seq
)
WHERE diff > 0;

-- Stretches of time in which a stream was not heard.
CREATE TABLE IF NOT EXISTS feed_gaps_changes
(
    venue                  LowCardinality(String),
    stream                 LowCardinality(String),
    symbol                 LowCardinality(String),
    from_ts                DateTime64(3, 'UTC'),
    to_ts                  Nullable(DateTime64(3, 'UTC')),
    recovered              LowCardinality(String),
    cause                  LowCardinality(String),
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(from_ts)
ORDER BY (venue, stream, symbol, from_ts, known_at, diff);

CREATE VIEW IF NOT EXISTS feed_gaps AS
SELECT venue, stream, symbol, from_ts, to_ts, recovered, cause
FROM
(
    SELECT venue, stream, symbol, from_ts, to_ts, recovered, cause, diff
    FROM feed_gaps_changes
    ORDER BY venue DESC, stream DESC, symbol DESC, from_ts DESC, known_at DESC, diff DESC
    LIMIT 1 BY venue, stream, symbol, from_ts
)
WHERE diff > 0;

CREATE VIEW IF NOT EXISTS feed_gaps_asof AS
SELECT venue, stream, symbol, from_ts, to_ts, recovered, cause
FROM
(
    SELECT venue, stream, symbol, from_ts, to_ts, recovered, cause, diff
    FROM feed_gaps_changes
    WHERE known_at <= {t:DateTime64(3, 'UTC')}
    ORDER BY venue DESC, stream DESC, symbol DESC, from_ts DESC, known_at DESC, diff DESC
    LIMIT 1 BY venue, stream, symbol, from_ts
)
WHERE diff > 0;

-- Alerts, firing or resolved.
CREATE TABLE IF NOT EXISTS alerts_changes
(
    id                     String,
    event_type             LowCardinality(String),
    status                 LowCardinality(String),
    severity               LowCardinality(String),
    symbol                 LowCardinality(String),
    venue                  LowCardinality(String),
    onset                  DateTime64(3, 'UTC'),
    resolved_at            Nullable(DateTime64(3, 'UTC')),
    title                  String,
    description            String,
    data                   String,
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(onset)
ORDER BY (id, known_at, diff);

CREATE VIEW IF NOT EXISTS alerts AS
SELECT id, event_type, status, severity, symbol, venue, onset, resolved_at, title, description, data
FROM
(
    SELECT id, event_type, status, severity, symbol, venue, onset, resolved_at, title, description, data, diff
    FROM alerts_changes
    ORDER BY id DESC, known_at DESC, diff DESC
    LIMIT 1 BY id
)
WHERE diff > 0;

CREATE VIEW IF NOT EXISTS alerts_asof AS
SELECT id, event_type, status, severity, symbol, venue, onset, resolved_at, title, description, data
FROM
(
    SELECT id, event_type, status, severity, symbol, venue, onset, resolved_at, title, description, data, diff
    FROM alerts_changes
    WHERE known_at <= {t:DateTime64(3, 'UTC')}
    ORDER BY id DESC, known_at DESC, diff DESC
    LIMIT 1 BY id
)
WHERE diff > 0;

-- Every attempt to tell somebody.
CREATE TABLE IF NOT EXISTS deliveries_changes
(
    alert_id               String,
    channel                LowCardinality(String),
    attempt                UInt32,
    sent_at                DateTime64(3, 'UTC'),
    result                 LowCardinality(String),
    http_status            UInt16,
    latency_ms             Float64,
    reason                 String,
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(sent_at)
ORDER BY (alert_id, channel, attempt, known_at, diff);

CREATE VIEW IF NOT EXISTS deliveries AS
SELECT alert_id, channel, attempt, sent_at, result, http_status, latency_ms, reason
FROM
(
    SELECT alert_id, channel, attempt, sent_at, result, http_status, latency_ms, reason, diff
    FROM deliveries_changes
    ORDER BY alert_id DESC, channel DESC, attempt DESC, known_at DESC, diff DESC
    LIMIT 1 BY alert_id, channel, attempt
)
WHERE diff > 0;

CREATE VIEW IF NOT EXISTS deliveries_asof AS
SELECT alert_id, channel, attempt, sent_at, result, http_status, latency_ms, reason
FROM
(
    SELECT alert_id, channel, attempt, sent_at, result, http_status, latency_ms, reason, diff
    FROM deliveries_changes
    WHERE known_at <= {t:DateTime64(3, 'UTC')}
    ORDER BY alert_id DESC, channel DESC, attempt DESC, known_at DESC, diff DESC
    LIMIT 1 BY alert_id, channel, attempt
)
WHERE diff > 0;
