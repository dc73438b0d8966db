-- Pairs of symbols across venues, the symbol whose name comes first as symbol_a; symbol_b '' is the rest of the market.
CREATE TABLE IF NOT EXISTS correlations_changes
(
    symbol_a               LowCardinality(String),
    symbol_b               LowCardinality(String),
    horizon                LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    r                      Float64,
    ewma_r                 Float64,
    baseline_mean          Nullable(Float64),
    baseline_sd            Nullable(Float64),
    fisher_z               Float64,
    delta_z                Nullable(Float64),
    bars                   UInt32,
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (symbol_a, symbol_b, horizon, ts, known_at, diff);

-- How much of all symbols' variance the first eigenvector of their correlations explains.
CREATE TABLE IF NOT EXISTS market_mode_changes
(
    horizon                LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    absorption_ratio       Float64,
    change_24h             Nullable(Float64),
    symbols                UInt32,
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (horizon, ts, known_at, diff);

-- Each symbol against the benchmark; residual_volatility per day.
CREATE TABLE IF NOT EXISTS betas_changes
(
    symbol                 LowCardinality(String),
    horizon                LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    beta                   Float64,
    residual_volatility    Float64,
    r2                     Float64,
    bars                   UInt32,
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (symbol, horizon, ts, known_at, diff);

-- Pairs that broke apart; symbol_b '' is the rest of the market. signal '' or POTENTIAL_PAIR_TRADE.
CREATE TABLE IF NOT EXISTS correlation_breaks_changes
(
    symbol_a               LowCardinality(String),
    symbol_b               LowCardinality(String),
    horizon                LowCardinality(String),
    onset                  DateTime64(3, 'UTC'),
    ended_at               Nullable(DateTime64(3, 'UTC')),
    return_correlation     Float64,
    divergence_strength    Float64,
    signal                 LowCardinality(String),
    baseline_mean          Nullable(Float64),
    baseline_sd            Nullable(Float64),
    delta_z                Nullable(Float64),
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(onset)
ORDER BY (symbol_a, symbol_b, horizon, onset, known_at, diff);
