-- How far the features of the last bars lie from those that the model was trained on, nats.
ALTER TABLE drift_changes
    ADD COLUMN IF NOT EXISTS symmetric_kl Nullable(Float64) AFTER drift_score;
