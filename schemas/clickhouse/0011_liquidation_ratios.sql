-- Liquidations of the windows of liquidation_windows, against open interest at the window's start and what was traded in it.
CREATE TABLE IF NOT EXISTS liquidation_ratios_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    window                 LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    long_to_open_interest  Nullable(Float64),
    short_to_open_interest Nullable(Float64),
    to_volume              Nullable(Float64),
    open_interest_usd      Nullable(Float64),
    volume_usd             Nullable(Float64),
    coverage               LowCardinality(String),
    is_lower_bound         UInt8,
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (venue, symbol, window, ts, known_at, diff);
