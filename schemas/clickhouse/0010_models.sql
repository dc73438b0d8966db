-- What each version of a model is used for, and how good it is. One row for each symbol that it speaks of.
CREATE TABLE IF NOT EXISTS models_changes
(
    name                       LowCardinality(String),
    version                    UInt32,
    symbol                     LowCardinality(String),
    timeframe                  LowCardinality(String),
    status                     LowCardinality(String),
    active_from                Nullable(DateTime64(3, 'UTC')),
    trained_from               Nullable(DateTime64(3, 'UTC')),
    trained_to                 Nullable(DateTime64(3, 'UTC')),
    bars                       Nullable(UInt64),
    states                     UInt32,
    covariance                 LowCardinality(String),
    emissions                  LowCardinality(String),
    features                   Array(String),
    labels                     Array(String),
    log_likelihood             Nullable(Float64),
    bic                        Nullable(Float64),
    oos_log_likelihood_per_bar Nullable(Float64),
    switches_per_year          Nullable(Float64),
    known_at                   DateTime64(3, 'UTC'),
    diff                       Int8
)
ENGINE = ReplacingMergeTree
ORDER BY (name, version, symbol, timeframe, known_at, diff);
