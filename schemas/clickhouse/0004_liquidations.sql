-- What a cascade was measured by, and the coverage of sums.
ALTER TABLE cascades_changes ADD COLUMN IF NOT EXISTS critical_velocity Float64 AFTER peak_velocity;
ALTER TABLE cascades_changes ADD COLUMN IF NOT EXISTS critical_from LowCardinality(String) AFTER critical_velocity;
ALTER TABLE cascades_changes ADD COLUMN IF NOT EXISTS branching_ratio Nullable(Float64) AFTER price_move_bps;
ALTER TABLE cascades_changes ADD COLUMN IF NOT EXISTS self_feeding UInt8 AFTER branching_ratio;
ALTER TABLE liquidation_windows_changes ADD COLUMN IF NOT EXISTS coverage LowCardinality(String) AFTER largest;

-- How liquidations of one side beget others: a Hawkes process fitted each hour to the 24 h before.
CREATE TABLE IF NOT EXISTS self_excitation_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    position_side          LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    mu                     Float64,
    alpha                  Float64,
    beta                   Float64,
    branching_ratio        Float64,
    events                 UInt64,
    coverage               LowCardinality(String),
    is_lower_bound         UInt8,
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (venue, symbol, position_side, ts, known_at, diff);

-- Cascades of several assets at once.
CREATE TABLE IF NOT EXISTS market_cascades_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    onset                  DateTime64(3, 'UTC'),
    last_active            DateTime64(3, 'UTC'),
    ended_at               Nullable(DateTime64(3, 'UTC')),
    assets                 Array(String),
    cascades               UInt64,
    total_liquidated_usd   Float64,
    long_notional          Float64,
    short_notional         Float64,
    count                  UInt64,
    side_bias              LowCardinality(String),
    largest_asset          String,
    largest_notional       Float64,
    coverage               LowCardinality(String),
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(onset)
ORDER BY (onset, known_at, diff);
