-- From here on a migration holds tables only: NAME and NAME_asof are made from NAME_changes and the key of NAME
-- (src/store/views.rs) whenever the schema is applied, so a column that is added here is there in all three.

-- Each stretch of a volatility regime that began with a change.
CREATE TABLE IF NOT EXISTS volatility_regimes_changes
(
    venue                  LowCardinality(String),
    symbol                 LowCardinality(String),
    onset                  DateTime64(3, 'UTC'),
    ended_at               Nullable(DateTime64(3, 'UTC')),
    from                   LowCardinality(String),
    to                     LowCardinality(String),
    close_to_close         Float64,
    parkinson              Nullable(Float64),
    known_at               DateTime64(3, 'UTC'),
    diff                   Int8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(onset)
ORDER BY (venue, symbol, onset, known_at, diff);
