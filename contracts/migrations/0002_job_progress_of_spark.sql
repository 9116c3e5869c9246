-- What a backend may tell besides: the phases of its last epoch, and where another backend stood before it.
ALTER TABLE job_progress ADD COLUMN phases_ms JSONB;
ALTER TABLE job_progress ADD COLUMN taken_over JSONB;
