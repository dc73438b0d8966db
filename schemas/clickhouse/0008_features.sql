-- What a closed bar and those before it say, as models read it.
CREATE TABLE IF NOT EXISTS features_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    timeframe              LowCardinality(String),
    ts                     DateTime64(3, 'UTC'),
    log_return             Nullable(Float64),
    trend_24               Nullable(Float64),
    log_volatility_14      Nullable(Float64),
    rsi_14                 Nullable(Float64),
    volatility_14          Nullable(Float64),
    volume_z_50            Nullable(Float64),
    adx_14                 Nullable(Float64),
    taker_imbalance        Nullable(Float64),
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (venue, symbol, timeframe, ts, known_at, diff);
