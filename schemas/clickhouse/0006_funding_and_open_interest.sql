-- How unusual funding and open interest are, and how venues differ.
-- Columns are added before known_at, where the rows have them.

ALTER TABLE funding_changes
    ADD COLUMN IF NOT EXISTS z_24h      Nullable(Float64) AFTER annualised,
    ADD COLUMN IF NOT EXISTS z_30d      Nullable(Float64) AFTER z_24h,
    ADD COLUMN IF NOT EXISTS robust_z   Nullable(Float64) AFTER z_30d,
    ADD COLUMN IF NOT EXISTS volatility Nullable(Float64) AFTER robust_z,
    ADD COLUMN IF NOT EXISTS paid_24h   Nullable(Float64) AFTER volatility,
    ADD COLUMN IF NOT EXISTS paid_7d    Nullable(Float64) AFTER paid_24h,
    ADD COLUMN IF NOT EXISTS paid_30d   Nullable(Float64) AFTER paid_7d;

-- Something unusual about funding, from its beginning to its end. Spreads are of all venues: venue ''.
CREATE TABLE IF NOT EXISTS funding_anomalies_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    onset                  DateTime64(3, 'UTC'),
    type                   LowCardinality(String),
    ended_at               Nullable(DateTime64(3, 'UTC')),
    severity               LowCardinality(String),
    anomaly_score          Float64,
    reasons                Array(String),
    rate_8h                Float64,
    z                      Nullable(Float64),
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(onset)
ORDER BY (venue, symbol, onset, type, known_at, diff);

-- Highest minus lowest predicted rate over the venues of a symbol, one row a minute.
CREATE TABLE IF NOT EXISTS funding_spreads_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    spread_8h              Float64,
    highest_venue          LowCardinality(String),
    highest_8h             Float64,
    lowest_venue           LowCardinality(String),
    lowest_8h              Float64,
    venues                 UInt8,
    weighted_mean_8h       Nullable(Float64),
    z_24h                  Nullable(Float64),
    z_30d                  Nullable(Float64),
    robust_z               Nullable(Float64),
    volatility             Nullable(Float64),
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (venue, symbol, ts, known_at, diff);

ALTER TABLE open_interest_changes
    ADD COLUMN IF NOT EXISTS change_5m  Nullable(Float64) AFTER usd,
    ADD COLUMN IF NOT EXISTS change_1h  Nullable(Float64) AFTER change_5m,
    ADD COLUMN IF NOT EXISTS change_24h Nullable(Float64) AFTER change_1h,
    ADD COLUMN IF NOT EXISTS quadrant   LowCardinality(String) AFTER change_24h;

-- Open interest of a symbol on all venues, one row a minute. Venue ''.
CREATE TABLE IF NOT EXISTS open_interest_totals_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    base                   Float64,
    usd                    Nullable(Float64),
    venues                 UInt8,
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (venue, symbol, ts, known_at, diff);

-- Open interest that fell at once during a liquidation cascade, which confirms it.
CREATE TABLE IF NOT EXISTS oi_shocks_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    onset                  DateTime64(3, 'UTC'),
    ended_at               Nullable(DateTime64(3, 'UTC')),
    change                 Float64,
    cascade_id             String,
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(onset)
ORDER BY (venue, symbol, onset, known_at, diff);

-- Mark price against index price, one row a minute.
CREATE TABLE IF NOT EXISTS basis_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    mark                   Float64,
    `index`                Float64,
    basis_bps              Float64,
    annualised             Nullable(Float64),
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (venue, symbol, ts, known_at, diff);
