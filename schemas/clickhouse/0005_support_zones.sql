-- Price ranges in which much was liquidated over the window, by the minute.
CREATE TABLE IF NOT EXISTS support_zones_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    side                   LowCardinality(String),
    rank                   UInt32,
    price_low              Float64,
    price_high             Float64,
    notional               Float64,
    distance_bps           Float64,
    touches                UInt32,
    coverage               LowCardinality(String),
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (venue, symbol, ts, side, rank, known_at, diff);

-- Each return of the price to a support zone.
CREATE TABLE IF NOT EXISTS zone_touches_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    side                   LowCardinality(String),
    onset                  DateTime64(3, 'UTC'),
    price_low              Float64,
    price_high             Float64,
    ended_at               Nullable(DateTime64(3, 'UTC')),
    rank                   UInt32,
    notional               Float64,
    touches                UInt32,
    coverage               LowCardinality(String),
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(onset)
ORDER BY (venue, symbol, side, onset, price_low, known_at, diff);
