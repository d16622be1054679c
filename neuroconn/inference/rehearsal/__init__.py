"""What a run would visit, take and cost, measured without writing anything."""
